/*
 * Plays conversations with servers to the program that begins TLS connections, all in this process; spoilt ones by the
 * thousand a second. To be compiled with -fsanitize=address,undefined, which watch, and with -fsanitize-coverage=trace-pc,
 * which tells what a conversation gets to: one that gets somewhere new is spoilt further.
 *
 *     harness record HOW PORT FILE WORDS...           what the server at a port of this machine says
 *     harness play FILE WORDS...                      once; says the status, and what the program says
 *     harness fuzz SEED COUNT IN OUT WORDS...         spoils the conversations in the folder IN; what is new goes to OUT
 *
 * WORDS are those of tls/handshake.c. A file is a byte of HOW (world.h), then what the server says.
 */
#include "world.h"
#include "spoil.h"
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <sanitizer/common_interface_defs.h>

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s: %s\n", #condition, strerror(errno));                                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What is freed need not be kept from use for longer than some handshakes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=16";
}

/* Pairs of places in the code, one after the other. */
#define PAIRS (1 << 16)
static struct {
    unsigned char seen[PAIRS];
    unsigned long last;
    unsigned count, new;
    int watched;
} coverage;

void __sanitizer_cov_trace_pc(void) __attribute__((no_sanitize_coverage));
void __sanitizer_cov_trace_pc(void)
{
    if (!coverage.watched)
        return;
    unsigned long here = (unsigned long)__builtin_return_address(0) * 0x9e3779b97f4a7c15UL >> 48;
    unsigned char *seen = &coverage.seen[(here ^ coverage.last >> 1) % PAIRS];
    coverage.new += !*seen;
    *seen = 1;
    coverage.last = here;
}

/* @returns its status; counts what it got to that none before it did. */
static int play_watched(struct conversation *c)
{
    coverage.new = coverage.last = 0;
    coverage.watched = 1;
    int status = play(c);
    coverage.watched = 0;
    coverage.count += coverage.new;
    return status;
}

static struct conversation *now; /* what is being played, for the case that it ends all */
static const char *out;

static void write_file(const char *path, const struct conversation *c)
{
    unsigned char how = c->how;
    FILE *file = fopen(path, "w");
    MUST(file && fwrite(&how, 1, 1, file) == 1 && fwrite(c->bytes, 1, c->n, file) == c->n && fclose(file) == 0);
}

static struct conversation *read_file(const char *path)
{
    struct conversation *c = malloc(sizeof *c);
    FILE *file = fopen(path, "r");
    MUST(c && file && (c->how = fgetc(file)) != EOF);
    c->n = fread(c->bytes, 1, MOST, file);
    MUST(fclose(file) == 0);
    return c;
}

static void keep_the_culprit(void)
{
    char path[PATH_MAX];
    if (!now || !out)
        return;
    snprintf(path, sizeof path, "%s/culprit", out);
    fprintf(stderr, "the conversation is in %s\n", path);
    write_file(path, now);
}

#define LARGEST 20000
static struct {
    struct conversation *all[LARGEST];
    size_t count;
} corpus;

/* Memory for no more than its bytes. */
static void add(const struct conversation *c)
{
    size_t size = offsetof(struct conversation, bytes) + c->n;
    if (corpus.count == LARGEST)
        return;
    MUST(corpus.all[corpus.count] = malloc(size));
    memcpy(corpus.all[corpus.count++], c, size);
}

/* Keys of handshakes with real servers. */
static struct keys genuine[MANY];
static int genuine_count;

static int is_genuine(const struct keys *keys)
{
    for (int i = 0; i < genuine_count; i++)
        if (memcmp(keys, &genuine[i], sizeof *keys) == 0)
            return 1;
    return 0;
}

static void load(const char *folder)
{
    struct dirent **entries;
    char path[PATH_MAX];
    int count = scandir(folder, &entries, 0, alphasort);
    MUST(count >= 0);
    for (int i = 0; i < count; i++) {
        int hidden = entries[i]->d_name[0] == '.';
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        free(entries[i]);
        if (hidden)
            continue;
        struct conversation *c = now = read_file(path);
        play_watched(c);
        add(c);
        c->how = 0;
        if (play(c) == DONE && genuine_count < MANY)
            genuine[genuine_count++] = world.given;
        free(c);
    }
    free(entries);
    MUST(corpus.count > 0);
}

/* Without the keys of its server nobody can change a conversation so that it comes to an end. */
static void expect_refused(const struct conversation *c, int status)
{
    if (status != DONE || c->how & LENIENT || is_genuine(&world.given))
        return;
    fprintf(stderr, "a handshake that no server has made was taken\n");
    keep_the_culprit();
    abort();
}

static void fuzz(unsigned long count)
{
    static struct conversation work;
    static unsigned long statuses[256];
    size_t recorded = corpus.count;
    unsigned before = coverage.count;
    now = &work;
    for (unsigned long i = 0; i < count; i++) {
        const struct conversation *c = corpus.all[random_below(random_below(8) ? corpus.count : recorded)];
        work.how = random_below(3) ? c->how : (int)random_below(8);
        work.how = random_below(8) ? work.how | LENIENT : work.how & ~LENIENT;
        work.n = c->n;
        memcpy(work.bytes, c->bytes, c->n);
        spoil(&work, corpus.all[random_below(corpus.count)]);
        alarm(PATIENCE);
        int status = play_watched(&work);
        MUST(status >= 0 && status < 256);
        statuses[status]++;
        expect_refused(&work, status);
        if (coverage.new == 0)
            continue;
        add(&work);
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%06zu", out, corpus.count);
        write_file(path, &work);
    }
    printf("{\"played\": %lu, \"recorded\": %u, \"reached\": %u, \"kept\": %zu, \"statuses\": {", count, before,
           coverage.count, corpus.count - recorded);
    for (int status = 0, first = 1; status < 256; status++)
        if (statuses[status]) {
            printf("%s\"%d\": %lu", first ? "" : ", ", status, statuses[status]);
            first = 0;
        }
    printf("}}\n");
}

static int record(int how, int port, const char *path)
{
    static struct conversation c;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(connect(fd, (struct sockaddr *)&server, sizeof server) == 0 && dup2(fd, SOCKET) == SOCKET);
    c.how = how;
    world.live = 1;
    alarm(PATIENCE);
    int status = play(&c);
    write_file(path, &c);
    return status;
}

/* The program's own words, after so many of this one. */
static void begin_with(int count, char **words, int own)
{
    world.now = &(struct conversation){0};
    int status = setjmp(world.end);
    if (status) {
        fprintf(stderr, "status %d: %s", status - 1, world.said);
        exit(99);
    }
    read_options(count - own + 1, words + own - 1);
    prepare();
}

int main(int count, char **words)
{
    const char *verb = count > 1 ? words[1] : "";
    int own = strcmp(verb, "record") == 0 ? 5 : strcmp(verb, "play") == 0 ? 3 : strcmp(verb, "fuzz") == 0 ? 6 : 0;
    if (!own || count <= own) {
        fprintf(stderr, "usage: see the start of harness.c\n");
        return 99;
    }
    begin_with(count, words, own);
    if (own == 6) {
        random_state = strtoul(words[2], 0, 10);
        out = words[5];
        __sanitizer_set_death_callback(keep_the_culprit);
        load(words[4]);
        fuzz(strtoul(words[3], 0, 10));
        return 0;
    }
    int status = own == 5 ? record(atoi(words[2]), atoi(words[3]), words[4]) : play(read_file(words[2]));
    printf("%d %s", status, world.said);
    return 0;
}
