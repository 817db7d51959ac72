/* What is in a folder. */
#ifndef NODEOS_FOLDER_H
#define NODEOS_FOLDER_H

/* Calls visit for each name in a folder that does not begin with a dot. Not to be nested. */
void folder_each(const char *folder, void (*visit)(const char *name));

/* Removes everything below a folder, which is a descriptor, that is in the same filesystem; but not the entry with the
 * name `but`. */
void folder_remove_all(long folder, const char *but);

#endif
