/* The kernel's command line. */
#ifndef NODEOS_WORDS_H
#define NODEOS_WORDS_H

/* Calls visit for each word. The words stay where they are. */
void words_each(void (*visit)(char *word));

#endif
