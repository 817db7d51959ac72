/* Numbers of the NBD protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md */
#ifndef NODEOS_NBD_H
#define NODEOS_NBD_H

#define NBDMAGIC 0x4e42444d41474943UL
#define IHAVEOPT 0x49484156454f5054UL
#define OLDSTYLE 0x00420281861253UL
#define REPLY_MAGIC 0x0003e889045565a9UL
#define REQUEST_MAGIC 0x25609513U
#define SIMPLE_REPLY_MAGIC 0x67446698U

enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };
enum { OPT_EXPORT_NAME = 1, OPT_STARTTLS = 5, OPT_GO = 7 };
enum { REP_ACK = 1, REP_INFO = 3 };
#define REP_ERROR 0x80000000U
/* Error replies to an option, without that bit. */
enum { ERR_UNSUP = 1, ERR_POLICY, ERR_INVALID, ERR_PLATFORM, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN };
enum { INFO_EXPORT = 0, INFO_BLOCK_SIZE = 3 };
enum { EXPORT_READ_ONLY = 1 << 1, EXPORT_MULTI_CONN = 1 << 8 };
enum { REQUEST_READ = 0 };

#define MAX_REPLY 65536 /* bytes of one reply to an option */

/* What a server says of an export. */
struct nbd_export {
    unsigned long size;      /* bytes */
    unsigned flags;          /* EXPORT_… */
    unsigned block, maximum; /* bytes of the smallest and the largest request; 0: the server does not say */
    unsigned long start;     /* a number made of its first bytes (recognise.h), or 0 */
};

#endif
