#include "../lib/io.h"
#include "words.h"

void words_each(void (*visit)(char *word))
{
    static char line[4096];
    char *word = line;
    io_read_file("/proc/cmdline", line, sizeof line);
    for (char *c = line;; c++) {
        if (*c && *c != ' ' && *c != '\n')
            continue;
        int last = *c == 0;
        *c = 0;
        visit(word);
        if (last)
            return;
        word = c + 1;
    }
}
