/* Numbers that are the same for the same seed. splitmix64: https://prng.di.unimi.it/splitmix64.c */
static unsigned long random_state;

static unsigned random_below(unsigned n)
{
    unsigned long z = random_state += 0x9e3779b97f4a7c15UL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
    return (z >> 33) % n;
}
