#include <linux/time.h>

#include "clock.h"
#include "sys.h"

long clock_now(void)
{
    struct timespec t;
    sys2(__NR_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

long clock_left(long time)
{
    long left = (time - clock_now()) / 1000;
    return left > 0 ? left : 0;
}

void clock_rest(long microseconds)
{
    struct timespec t = {microseconds / SECOND, microseconds % SECOND * 1000};
    sys2(__NR_nanosleep, &t, 0);
}
