/*
 * The world of tls/handshake.c in memory: a peer whose bytes are a variable, random numbers that are always the same, and
 * cryptography that can be looked through. The functions with __wrap_ stand before those of Mbed TLS (ld --wrap).
 *
 * Records that are encrypted are played in the clear: in place of the ciphertext there is the plaintext, in place of the
 * tag there are zeros. So what is spoilt are the messages behind the encryption, not only the records.
 */
#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <stdarg.h>

#include "ssl_misc.h" /* of Mbed TLS itself: how large its buffer is */

/* All that handshake.c includes comes before its words for the world are replaced. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void world_exit(int status) __attribute__((noreturn));
static int world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static ssize_t world_send(int fd, const void *bytes, size_t n, int flags);
static ssize_t world_receive(int fd, void *bytes, size_t n, int flags);
static int world_setsockopt(int fd, int level, int name, const void *value, socklen_t length);

#define main handshake_main
#define exit world_exit
#define printf world_say
#define send world_send
#define recv world_receive
#define setsockopt world_setsockopt
#include "../../tls/handshake.c"
#undef main
#undef exit
#undef printf
#undef send
#undef recv
#undef setsockopt

/* How a conversation is played; the first byte of a file that has one. */
enum {
    LENIENT = 1, /* every signature and every Finished is right: to get behind them */
    HUNG_UP = 2, /* the kernel finds the connection ended: what follows the handshake is read */
    DRIBBLE = 4, /* a few bytes at a time, and signals in between */
};

#define MOST 49152 /* bytes of a conversation */
struct conversation {
    int how;
    size_t n;
    unsigned char bytes[MOST];
};

/* Which keys the kernel was given, of the two directions. */
struct keys {
    unsigned char bytes[2][sizeof(struct tls12_crypto_info_aes_gcm_256)];
};

static struct {
    int live; /* the peer is a real one, on the socket, and is recorded */
    struct conversation *now;
    size_t at;
    struct keys given;
    char said[2048];
    unsigned long randomness, reads;
    jmp_buf end;
} world;

static void world_exit(int status)
{
    longjmp(world.end, 1 + status);
}

static int world_say(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = vsnprintf(world.said, sizeof world.said, format, values);
    va_end(values);
    return n;
}

static ssize_t world_send(int fd, const void *bytes, size_t n, int flags)
{
    return world.live ? send(fd, bytes, n, flags) : (ssize_t)n;
}

/* What lies behind the bytes that were received must not be read: Mbed TLS's buffer goes on there. */
static void forbid_from(const unsigned char *end)
{
    const unsigned char *buffer = ssl.MBEDTLS_PRIVATE(in_buf);
    if (buffer && end >= buffer && end < buffer + MBEDTLS_SSL_IN_BUFFER_LEN)
        ASAN_POISON_MEMORY_REGION(end, buffer + MBEDTLS_SSL_IN_BUFFER_LEN - end);
}

static void allow_all(void)
{
    if (ssl.MBEDTLS_PRIVATE(in_buf))
        ASAN_UNPOISON_MEMORY_REGION(ssl.MBEDTLS_PRIVATE(in_buf), MBEDTLS_SSL_IN_BUFFER_LEN);
}

static ssize_t world_receive(int fd, void *bytes, size_t n, int flags)
{
    struct conversation *c = world.now;
    if (world.live) {
        ssize_t got = recv(fd, bytes, n, flags);
        if (got > 0 && c->n + got <= MOST) {
            memcpy(c->bytes + c->n, bytes, got);
            c->n += got;
        }
        return got;
    }
    if (c->how & DRIBBLE && world.reads++ % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    size_t left = c->n - world.at;
    n = n < left ? n : left;
    n = c->how & DRIBBLE && n > 7 ? 7 : n;
    allow_all();
    memcpy(bytes, c->bytes + world.at, n);
    forbid_from((unsigned char *)bytes + n);
    world.at += n;
    return n;
}

static int world_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    (void)fd;
    if (level == IPPROTO_TCP && world.now->how & HUNG_UP) {
        errno = ENOTCONN;
        return -1;
    }
    if (level == SOL_TLS && length <= sizeof world.given.bytes[0])
        memcpy(world.given.bytes[name == TLS_RX], value, length);
    return 0;
}

#define DECRYPT(name)                                                                                                  \
    int name(mbedtls_cipher_context_t *cipher, const unsigned char *iv, size_t iv_length, const unsigned char *added,  \
             size_t added_length, const unsigned char *input, size_t n, unsigned char *to, size_t room, size_t *length,\
             size_t tag)
DECRYPT(__real_mbedtls_cipher_auth_decrypt_ext);
DECRYPT(__wrap_mbedtls_cipher_auth_decrypt_ext);

DECRYPT(__wrap_mbedtls_cipher_auth_decrypt_ext)
{
    struct conversation *c = world.now;
    if (world.live) {
        int error = __real_mbedtls_cipher_auth_decrypt_ext(cipher, iv, iv_length, added, added_length, input, n, to, room,
                                                           length, tag);
        if (!error && c->n >= n) { /* the record came last */
            memcpy(c->bytes + c->n - n, to, n - tag);
            memset(c->bytes + c->n - tag, 0, tag);
        }
        return error;
    }
    for (size_t i = n - tag; i < n; i++)
        if (input[i])
            return MBEDTLS_ERR_CIPHER_AUTH_FAILED;
    memmove(to, input, n - tag);
    *length = n - tag;
    forbid_from(to + *length);
    return 0;
}

int __real_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options, mbedtls_pk_context *key,
                                 mbedtls_md_type_t hash, const unsigned char *of, size_t n, const unsigned char *signature,
                                 size_t length);
int __wrap_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options, mbedtls_pk_context *key,
                                 mbedtls_md_type_t hash, const unsigned char *of, size_t n, const unsigned char *signature,
                                 size_t length);
int __wrap_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options, mbedtls_pk_context *key,
                                 mbedtls_md_type_t hash, const unsigned char *of, size_t n, const unsigned char *signature,
                                 size_t length)
{
    if (world.now->how & LENIENT) {
        for (size_t i = 0; i < length; i++)
            (void)((const volatile unsigned char *)signature)[i]; /* they must be there */
        return 0;
    }
    return __real_mbedtls_pk_verify_ext(type, options, key, hash, of, n, signature, length);
}

int __wrap_mbedtls_ct_memcmp(const void *a, const void *b, size_t n);
int __wrap_mbedtls_ct_memcmp(const void *a, const void *b, size_t n)
{
    int differs = memcmp(a, b, n); /* in any case, so that all bytes are read */
    return world.now->how & LENIENT ? 0 : differs;
}

int __wrap_mbedtls_ctr_drbg_random(void *none, unsigned char *to, size_t n);
int __wrap_mbedtls_ctr_drbg_random(void *none, unsigned char *to, size_t n)
{
    (void)none;
    for (size_t i = 0; i < n; i++)
        to[i] = (world.randomness = world.randomness * 6364136223846793005UL + 1442695040888963407UL) >> 56;
    return 0;
}

/*
 * Points of elliptic curves are most of a handshake's time, and since random numbers repeat, so do they: what was computed
 * is looked up. Nothing else is left out, so a point of a peer that is new is computed.
 */
#define REMEMBERED 32
static struct {
    mbedtls_ecp_group_id group;
    mbedtls_mpi times;
    mbedtls_ecp_point of, result;
} products[REMEMBERED];

#define MULTIPLY(name, ...)                                                                                            \
    int name(mbedtls_ecp_group *group, mbedtls_ecp_point *result, const mbedtls_mpi *times, const mbedtls_ecp_point *of, \
             int (*numbers)(void *, unsigned char *, size_t), void *with, ##__VA_ARGS__)
MULTIPLY(__real_mbedtls_ecp_mul);
MULTIPLY(__wrap_mbedtls_ecp_mul);
MULTIPLY(__wrap_mbedtls_ecp_mul_restartable, mbedtls_ecp_restart_ctx *restart);

MULTIPLY(__wrap_mbedtls_ecp_mul)
{
    static unsigned next;
    for (unsigned i = 0; i < REMEMBERED; i++)
        if (products[i].group == group->id && mbedtls_mpi_cmp_mpi(&products[i].times, times) == 0 &&
            mbedtls_ecp_point_cmp(&products[i].of, of) == 0)
            return mbedtls_ecp_copy(result, &products[i].result);
    unsigned i = next++ % REMEMBERED;
    products[i].group = MBEDTLS_ECP_DP_NONE;
    if (mbedtls_mpi_copy(&products[i].times, times) || mbedtls_ecp_copy(&products[i].of, of))
        return MBEDTLS_ERR_ECP_ALLOC_FAILED;
    int error = __real_mbedtls_ecp_mul(group, result, times, of, numbers, with);
    if (!error && mbedtls_ecp_copy(&products[i].result, result) == 0)
        products[i].group = group->id;
    return error;
}

MULTIPLY(__wrap_mbedtls_ecp_mul_restartable, mbedtls_ecp_restart_ctx *restart)
{
    (void)restart;
    return __wrap_mbedtls_ecp_mul(group, result, times, of, numbers, with);
}

/* After a HelloRetryRequest the whole buffer is cleared. */
void __real_mbedtls_ssl_session_reset_msg_layer(mbedtls_ssl_context *context, int partial);
void __wrap_mbedtls_ssl_session_reset_msg_layer(mbedtls_ssl_context *context, int partial);
void __wrap_mbedtls_ssl_session_reset_msg_layer(mbedtls_ssl_context *context, int partial)
{
    allow_all();
    __real_mbedtls_ssl_session_reset_msg_layer(context, partial);
}

/* Has the program shake hands with the one who says that. @returns its status */
static int play(struct conversation *c)
{
    world.now = c;
    world.at = world.reads = world.randomness = 0;
    memset(&world.given, 0, sizeof world.given);
    memset(&secrets, 0, sizeof secrets);
    world.said[0] = 0;
    int status = setjmp(world.end);
    if (status == 0) {
        begin();
        shake_hands();
        give_to_kernel();
        status = 1 + DONE;
    }
    allow_all();
    mbedtls_ssl_free(&ssl);
    return status - 1;
}
