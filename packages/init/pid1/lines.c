#include "lines.h"

void lines_pump(struct lines *l, long from, void (*obey)(char *line))
{
    char c;
    while (sys3(__NR_read, from, &c, 1) == 1) {
        if (c == '\n') {
            l->bytes[l->length] = 0;
            obey(l->bytes);
            l->length = 0;
        } else if (l->length < sizeof l->bytes - 1)
            l->bytes[l->length++] = c;
    }
}
