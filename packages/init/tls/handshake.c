/*
 * The beginning of a TLS connection, which the kernel then goes on with: shakes hands on the socket that is descriptor
 * 0, and gives its keys to the kernel. From then on the socket is read and written as if it were in the clear.
 *
 *     tls-handshake [-n NAME] [-k] [-u IDENTITY] [-p FILE] FOLDER
 *
 * FOLDER has ca-cert.pem, and client-cert.pem and client-key.pem if the server wants to know who asks; with -p FILE, its
 * line IDENTITY:HEXADECIMAL (the first one without -u) is a key that both sides share, and there are no certificates.
 * -n: the name or address that must be in the server's certificate. -k: any certificate will do.
 *
 * Status 0: done. 1: it may work another time. 2: it will not. What is wrong is a line on standard output.
 * 128 and more: the server ended it, with the alert of that number above 128.
 *
 * TLS 1.3, RFC 8446. The kernel's side: https://docs.kernel.org/networking/tls.html
 * Leaves out: TLS 1.2 (its keys come about in another way), session tickets, early data, revocation lists, passphrases.
 * A server that changes its key ends the connection: Linux 6.12 cannot change keys.
 */
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

#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/error.h"
#include "mbedtls/hkdf.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

enum { DONE, ANOTHER_TIME, NEVER, ALERT = 128 };
#define PATIENCE 10 /* seconds for all of it */
#define SOCKET 0
#define MAX_KEY 64 /* bytes of a shared key */
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static struct {
    const char *name, *identity, *keys, *folder;
    int any;
} options;

/* RFC 8446, section 7.1: what the keys of the two directions are made of. */
struct secret {
    unsigned char bytes[MBEDTLS_MD_MAX_SIZE];
    size_t length;
};
static struct { struct secret client, server; } secrets;

static mbedtls_ssl_context ssl;
static mbedtls_ssl_config config;

static void complain(int status, const char *what, const char *why)
{
    printf("%s%s%s\n", what, *why ? ": " : "", why);
    exit(status);
}

static void complain_code(int status, const char *what, int code)
{
    char why[160];
    mbedtls_strerror(code, why, sizeof why);
    complain(status, what, why);
}

/* Ends if the server has said why it ends: RFC 8446, section 6. */
static void heed_alert(int code)
{
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && ssl.MBEDTLS_PRIVATE(in_msg)[1] < ALERT)
        exit(ALERT + ssl.MBEDTLS_PRIVATE(in_msg)[1]);
}

static int send_bytes(void *none, const unsigned char *bytes, size_t n)
{
    (void)none;
    ssize_t sent = send(SOCKET, bytes, n, MSG_NOSIGNAL);
    return sent >= 0 ? (int)sent : errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_CONN_EOF;
}

/* Never more than is asked for: what follows the handshake is the kernel's to read. */
static int receive_bytes(void *none, unsigned char *bytes, size_t n)
{
    (void)none;
    ssize_t got = recv(SOCKET, bytes, n, 0);
    return got > 0 ? (int)got : got < 0 && errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_SSL_CONN_EOF;
}

static void keep_secret(void *none, mbedtls_ssl_key_export_type type, const unsigned char *bytes, size_t length,
                        const unsigned char client[32], const unsigned char server[32], mbedtls_tls_prf_types prf)
{
    struct secret *to = type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET   ? &secrets.client
                        : type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET ? &secrets.server
                                                                                                  : 0;
    (void)none, (void)client, (void)server, (void)prf;
    if (!to || length > sizeof to->bytes)
        return;
    memcpy(to->bytes, bytes, length);
    to->length = length;
}

/* HKDF-Expand-Label of RFC 8446, section 7.1, with an empty context. */
static void expand(const struct secret *secret, const char *label, unsigned char *to, size_t length)
{
    unsigned char info[32] = {0, length};
    size_t named = snprintf((char *)info + 3, sizeof info - 3, "tls13 %s", label);
    info[2] = named;
    const mbedtls_md_info_t *hash =
        mbedtls_md_info_from_type(secret->length == 32 ? MBEDTLS_MD_SHA256 : MBEDTLS_MD_SHA384);
    int error = mbedtls_hkdf_expand(hash, secret->bytes, secret->length, info, 3 + named + 1, to, length);
    if (error)
        complain_code(NEVER, "the keys for the kernel", error);
}

/* Both suites that are offered are AES in Galois/counter mode: they differ in the length of the key. */
static void give_key(int direction, const struct secret *secret)
{
    union {
        struct tls_crypto_info info;
        struct tls12_crypto_info_aes_gcm_128 small;
        struct tls12_crypto_info_aes_gcm_256 large;
    } keys = {0};
    unsigned char iv[TLS_CIPHER_AES_GCM_128_SALT_SIZE + TLS_CIPHER_AES_GCM_128_IV_SIZE];
    int small = secret->length == 32;
    keys.info.version = TLS_1_3_VERSION;
    keys.info.cipher_type = small ? TLS_CIPHER_AES_GCM_128 : TLS_CIPHER_AES_GCM_256;
    expand(secret, "key", small ? keys.small.key : keys.large.key, small ? sizeof keys.small.key : sizeof keys.large.key);
    expand(secret, "iv", iv, sizeof iv);
    memcpy(small ? keys.small.salt : keys.large.salt, iv, TLS_CIPHER_AES_GCM_128_SALT_SIZE);
    memcpy(small ? keys.small.iv : keys.large.iv, iv + TLS_CIPHER_AES_GCM_128_SALT_SIZE, TLS_CIPHER_AES_GCM_128_IV_SIZE);
    if (setsockopt(SOCKET, SOL_TLS, direction, &keys, small ? sizeof keys.small : sizeof keys.large) < 0)
        complain(NEVER, "the kernel does not take the keys", strerror(errno));
}

static void give_to_kernel(void)
{
    if (!secrets.client.length || !secrets.server.length)
        complain(NEVER, "the handshake has left no keys", "");
    int error = setsockopt(SOCKET, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") < 0 ? errno : 0;
    /* For a client, the handshake is over before the server has seen who it is. */
    if (error == ENOTCONN) {
        unsigned char none;
        heed_alert(mbedtls_ssl_read(&ssl, &none, sizeof none));
        complain(ANOTHER_TIME, "the server hung up after the TLS handshake", "does it want another certificate?");
    }
    if (error)
        complain(NEVER, "this kernel has no TLS (CONFIG_TLS)", strerror(error));
    give_key(TLS_TX, &secrets.client);
    give_key(TLS_RX, &secrets.server);
}

/* The path of a file in the folder, or a null pointer if it is not there. */
static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", options.folder, name);
    return access(path, F_OK) == 0 ? path : 0;
}

static int is_address(const char *name)
{
    unsigned char bytes[16];
    return name && (inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1);
}

/* Called for each certificate of the server's chain, its own last. An address is compared here: a name that Mbed TLS
 * compares by itself is told to the server too, and that must not be an address (RFC 6066, section 3). */
static int compare_address(void *none, mbedtls_x509_crt *one, int depth, uint32_t *flags)
{
    uint32_t found = 0;
    (void)none;
    if (depth > 0 || !is_address(options.name))
        return 0;
    mbedtls_x509_crt_verify(one, one, 0, options.name, &found, 0, 0);
    *flags |= found & MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

static void use_certificates(mbedtls_ctr_drbg_context *random)
{
    static mbedtls_x509_crt authorities, certificate;
    static mbedtls_pk_context key;
    const char *path;
    int error;
    /* Above zero: so many cannot be read, as those with SHA-1 are. A server that needs one of them is not trusted. */
    if ((path = in_folder("ca-cert.pem")) && (error = mbedtls_x509_crt_parse_file(&authorities, path)) < 0)
        complain_code(NEVER, path, error);
    if (!path && !options.any)
        complain(NEVER, options.folder, "there is no ca-cert.pem, so no server can be trusted (USER@ is for keys.psk)");
    mbedtls_ssl_conf_ca_chain(&config, &authorities, 0);
    mbedtls_ssl_conf_verify(&config, compare_address, 0);
    mbedtls_ssl_conf_authmode(&config, options.any ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
    if (!(path = in_folder("client-cert.pem")))
        return;
    if ((error = mbedtls_x509_crt_parse_file(&certificate, path)) < 0)
        complain_code(NEVER, path, error);
    if (error > 0)
        complain(NEVER, path, "not all of its certificates can be read: RSA or ECDSA, with SHA-256 or better");
    if (!(path = in_folder("client-key.pem")))
        complain(NEVER, options.folder, "there is a client-cert.pem, but no client-key.pem");
    if ((error = mbedtls_pk_parse_keyfile(&key, path, 0, mbedtls_ctr_drbg_random, random)) ||
        (error = mbedtls_ssl_conf_own_cert(&config, &certificate, &key)))
        complain_code(NEVER, path, error);
}

/* The number of bytes, or 0 if the text is not hexadecimal, or too long. */
static size_t from_hex(const char *text, unsigned char *to)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF"), n = digits / 2;
    if (digits % 2 || n > MAX_KEY || text[digits + strspn(text + digits, " \r\n")])
        return 0;
    for (size_t i = 0; i < n; i++)
        sscanf(text + 2 * i, "%2hhx", &to[i]);
    return n;
}

static void use_shared_key(void)
{
    char line[512], *colon;
    unsigned char bytes[MAX_KEY];
    FILE *file = fopen(options.keys, "r");
    if (!file)
        complain(NEVER, options.keys, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        if (!(colon = strchr(line, ':')))
            continue;
        *colon = 0;
        if (options.identity && strcmp(line, options.identity) != 0)
            continue;
        size_t n = from_hex(colon + 1, bytes);
        int error = n ? mbedtls_ssl_conf_psk(&config, bytes, n, (unsigned char *)line, strlen(line)) : 0;
        if (!n || error)
            complain(NEVER, options.keys, "a key is two to 128 hexadecimal digits");
        mbedtls_ssl_conf_tls13_key_exchange_modes(&config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
        fclose(file);
        return;
    }
    complain(NEVER, options.keys, "there is no key of that name");
}

/* What is wrong with the server's certificate. */
static void complain_about_certificate(unsigned flags)
{
    char why[1024], clock[64] = "";
    time_t now = time(0);
    mbedtls_x509_crt_verify_info(why, sizeof why, "", flags);
    why[strcspn(why, "\n")] = 0;
    if (flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE))
        strftime(clock, sizeof clock, " (the clock says %Y-%m-%d %H:%M UTC)", gmtime(&now));
    strncat(why, clock, sizeof why - strlen(why) - 1);
    complain(NEVER, "the server's certificate", why);
}

static void shake_hands(void)
{
    int error;
    if ((error = mbedtls_ssl_set_hostname(&ssl, is_address(options.name) ? 0 : options.name)))
        complain_code(NEVER, "the server's name", error);
    while ((error = mbedtls_ssl_handshake(&ssl)) != 0) {
        if (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE)
            continue;
        heed_alert(error);
        unsigned flags = mbedtls_ssl_get_verify_result(&ssl);
        if (!options.any && flags && flags != ~0U)
            complain_about_certificate(flags);
        /* A network that fails may be better the next time; a server that says no will say it again. */
        complain_code(error == MBEDTLS_ERR_SSL_CONN_EOF ? ANOTHER_TIME : NEVER, "the TLS handshake", error);
    }
}

/* Mbed TLS asks for random numbers by this name. */
int mbedtls_hardware_poll(void *none, unsigned char *bytes, size_t wanted, size_t *got)
{
    (void)none;
    ssize_t n = getrandom(bytes, wanted, 0);
    *got = n > 0 ? n : 0;
    return n > 0 ? 0 : MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
}

static void prepare(void)
{
    /* Both are of AES-GCM, which is what every kernel with TLS has. */
    static const int SUITES[] = {MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0};
    static mbedtls_entropy_context entropy;
    static mbedtls_ctr_drbg_context random;
    int error;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_ssl_config_init(&config);
    if ((error = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, 0, 0)) ||
        (error = psa_crypto_init()) ||
        (error = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                             MBEDTLS_SSL_PRESET_DEFAULT)))
        complain_code(NEVER, "TLS cannot begin", error);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_ciphersuites(&config, SUITES);
    options.keys ? use_shared_key() : use_certificates(&random);
}

static void begin(void)
{
    int error;
    mbedtls_ssl_init(&ssl);
    if ((error = mbedtls_ssl_setup(&ssl, &config)))
        complain_code(NEVER, "TLS cannot begin", error);
    mbedtls_ssl_set_export_keys_cb(&ssl, keep_secret, 0);
    mbedtls_ssl_set_bio(&ssl, 0, send_bytes, receive_bytes, 0);
}

static void read_options(int count, char **words)
{
    for (int option; (option = getopt(count, words, "n:u:p:k")) != -1;)
        switch (option) {
        case 'n': options.name = optarg; break;
        case 'u': options.identity = optarg; break;
        case 'p': options.keys = optarg; break;
        case 'k': options.any = 1; break;
        default: exit(NEVER);
        }
    if (optind != count - 1)
        complain(NEVER, "usage: tls-handshake [-n NAME] [-k] [-u IDENTITY] [-p FILE] FOLDER", "");
    options.folder = words[optind];
}

int main(int count, char **words)
{
    read_options(count, words);
    alarm(PATIENCE);
    prepare();
    begin();
    shake_hands();
    give_to_kernel();
    return DONE;
}
