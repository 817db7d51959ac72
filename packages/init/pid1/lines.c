#include "../lib/sys.h"
#include "control.h"
#include "spawn.h"

void control_pump(void (*obey)(char *line))
{
    static char line[256];
    static size_t n;
    char c;
    while (sys3(__NR_read, spawn_control(), &c, 1) == 1) {
        if (c == '\n') {
            line[n] = 0;
            obey(line);
            n = 0;
        } else if (n < sizeof line - 1)
            line[n++] = c;
    }
}
