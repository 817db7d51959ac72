#include "../lib/io.h"
#include "superblock.h"

#define OFFSET 1024
#define SIZE 1024
#define MAGIC 0xef53
#define RECOVER 0x4 /* the journal is to be replayed */
#define METADATA_CSUM 0x400

/* Fields, as indexes of 32 bits. All architectures here are little-endian, as ext4 is. */
enum { STATE = 0x38 / 4, INCOMPATIBLE = 0x60 / 4, READ_ONLY_COMPATIBLE = 0x64 / 4, CHECKSUM = 0x3fc / 4 };

/* CRC-32C without its last complement, as ext4 has it. */
static unsigned checksum(const unsigned char *bytes, size_t n)
{
    unsigned sum = ~0u;
    for (; n > 0; n--) {
        sum ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0x82f63b78 : 0);
    }
    return sum;
}

int superblock_mend(const char *device)
{
    unsigned block[SIZE / 4];
    int mended = 0;
    long fd = io_open(device, O_RDWR);
    if (fd < 0)
        return 0;
    if (sys4(__NR_pread64, fd, block, SIZE, OFFSET) == SIZE && (block[STATE] & 0xffff) == MAGIC &&
        block[INCOMPATIBLE] & RECOVER && block[READ_ONLY_COMPATIBLE] & METADATA_CSUM) {
        unsigned sum = checksum((const unsigned char *)block, CHECKSUM * 4);
        if (sum != block[CHECKSUM]) {
            block[CHECKSUM] = sum;
            mended = sys4(__NR_pwrite64, fd, block, SIZE, OFFSET) == SIZE;
            sys1(__NR_fsync, fd);
        }
    }
    sys1(__NR_close, fd);
    return mended;
}
