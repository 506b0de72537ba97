/* The other side of the benchmarks: answers every request after a delay, and tells when each one came.
 *
 * One thread and epoll, so that it costs a fraction of the clients that it serves; what it counts is nobody's but its
 * own. It takes bodies with a content-length; it trusts whoever calls, and listens on the loopback address only.
 *
 * server DELAY_MICROSECONDS [PORT [KEEP_FILE [CERTIFICATE_AND_KEY.pem]]]    ("-" for a file: none)
 *   prints its port, then serves until it is killed
 *   GET /-/count    how many requests have come
 *   GET /-/times    when (CLOCK_MONOTONIC, nanoseconds) each came since this was last asked
 * KEEP_FILE gets the bodies: a line with the length, then so many bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST_LINES = 4096, MOST_WAITING = 1 << 16, MOST_TIMES = 1 << 20, ROOM = 1 << 16, LARGEST = 1 << 25 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}";

struct line { SSL *tls; char *room; size_t held, most; unsigned born; int open; };
struct due { long long at; int fd; unsigned born; };

static struct line lines[MOST_LINES];
static struct due later[MOST_WAITING];
static unsigned first, last, births;
static long long times[MOST_TIMES], count, told, delay;
static int polling, clock_fd;
static SSL_CTX *trust;
static FILE *keep;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void set_clock(void) {
    struct itimerspec t = {0};
    if (first != last) {
        long long at = later[first % MOST_WAITING].at;
        t.it_value.tv_sec = at / 1000000000LL, t.it_value.tv_nsec = at % 1000000000LL;
    }
    timerfd_settime(clock_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void hang_up(int fd) {
    if (lines[fd].tls) SSL_free(lines[fd].tls);
    free(lines[fd].room);
    memset(&lines[fd], 0, sizeof lines[fd]);
    close(fd);
}

static void say(int fd, const char *text, size_t length) {
    int tries = 0;
    while (length > 0) {
        ssize_t sent = lines[fd].tls ? SSL_write(lines[fd].tls, text, (int)length) : send(fd, text, length, MSG_NOSIGNAL);
        if (sent <= 0) { /* a long list of times may have to wait for its reader */
            struct timespec pause = {0, 200000};
            if (++tries > 20000) return;
            nanosleep(&pause, NULL);
            continue;
        }
        text += sent, length -= (size_t)sent;
    }
}

static void tell(int fd, int all) {
    size_t most = 64 + (all ? (size_t)(count - told) * 21 : 0), used = 0;
    char *body = malloc(most), head[128];
    if (!all) used = (size_t)sprintf(body, "%lld", count);
    for (; all && told < count; told++) used += (size_t)sprintf(body + used, "%lld\n", times[told % MOST_TIMES]);
    say(fd, head, (size_t)sprintf(head, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", used));
    say(fd, body, used);
    free(body);
}

/* Take the first whole request out of what is held; 0 if there is none yet. */
static int request(int fd) {
    struct line *line = &lines[fd];
    char *end = memmem(line->room, line->held, "\r\n\r\n", 4), *length;
    if (!end) return 0;
    size_t head = (size_t)(end - line->room) + 4, body = 0;
    *end = 0;
    if ((length = strcasestr(line->room, "\r\ncontent-length:"))) body = strtoul(length + 17, NULL, 10);
    *end = '\r';
    if (head + body > line->held) return 0;
    if (!strncmp(line->room, "GET /-/", 7)) tell(fd, line->room[7] == 't');
    else {
        times[count++ % MOST_TIMES] = now();
        if (count - told > MOST_TIMES) told = count - MOST_TIMES;
        if (keep && body) fprintf(keep, "%zu\n", body), fwrite(line->room + head, 1, body, keep), fflush(keep);
        if (!delay) say(fd, ANSWER, sizeof ANSWER - 1);
        else {
            later[last++ % MOST_WAITING] = (struct due){now() + delay, fd, line->born};
            if (last - first == 1) set_clock();
        }
    }
    line->held -= head + body;
    memmove(line->room, line->room + head + body, line->held);
    return 1;
}

static void hear(int fd) {
    struct line *line = &lines[fd];
    if (line->tls && !SSL_is_init_finished(line->tls)) {
        int done = SSL_do_handshake(line->tls), why = done > 0 ? 0 : SSL_get_error(line->tls, done);
        if (done <= 0) {
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) hang_up(fd);
            return;
        }
    }
    for (;;) {
        if (line->most - line->held < ROOM / 2) {
            if (line->most > LARGEST) return hang_up(fd);
            line->room = realloc(line->room, line->most = line->most ? line->most * 2 : ROOM);
        }
        size_t free_room = line->most - line->held - 1;
        ssize_t got = line->tls ? SSL_read(line->tls, line->room + line->held, (int)free_room)
                                : recv(fd, line->room + line->held, free_room, 0);
        if (got <= 0) {
            int blocked = line->tls ? SSL_get_error(line->tls, (int)got) == SSL_ERROR_WANT_READ : got < 0;
            if (!blocked) hang_up(fd);
            return;
        }
        line->held += (size_t)got;
        while (request(fd)) { }
        if (!line->tls && (size_t)got < free_room) return;
    }
}

static void greet(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), yes = 1;
    if (fd < 0) return;
    if (fd >= MOST_LINES) { close(fd); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    lines[fd] = (struct line){.born = ++births, .open = 1};
    if (trust) {
        lines[fd].tls = SSL_new(trust);
        SSL_set_fd(lines[fd].tls, fd);
        SSL_set_accept_state(lines[fd].tls);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(polling, EPOLL_CTL_ADD, fd, &event);
}

static void answer_late(void) {
    unsigned long long times_up;
    if (read(clock_fd, &times_up, sizeof times_up) < 0) return;
    for (; first != last && later[first % MOST_WAITING].at <= now(); first++) {
        struct due *due = &later[first % MOST_WAITING];
        if (lines[due->fd].open && lines[due->fd].born == due->born) say(due->fd, ANSWER, sizeof ANSWER - 1);
    }
    set_clock();
}

static int listen_on(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&here, size) || listen(fd, 1024)) { perror("listen"); exit(1); };
    getsockname(fd, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port)), fflush(stdout);
    return fd;
}

int main(int n, char **given) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind to serve */
    delay = n > 1 ? atoll(given[1]) * 1000 : 0;
    if (n > 3 && strcmp(given[3], "-")) keep = fopen(given[3], "ab");
    if (n > 4 && strcmp(given[4], "-")) {
        trust = SSL_CTX_new(TLS_server_method());
        SSL_CTX_use_certificate_chain_file(trust, given[4]);
        if (SSL_CTX_use_PrivateKey_file(trust, given[4], SSL_FILETYPE_PEM) != 1) { fputs("no key\n", stderr); exit(1); }
    }
    polling = epoll_create1(EPOLL_CLOEXEC), clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listener = listen_on(n > 2 ? atoi(given[2]) : 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, found[256];
    epoll_ctl(polling, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = clock_fd, epoll_ctl(polling, EPOLL_CTL_ADD, clock_fd, &event);
    for (;;) {
        int many = epoll_wait(polling, found, 256, -1);
        for (int i = 0; i < many; i++) {
            int fd = found[i].data.fd;
            if (fd == listener) greet(fd);
            else if (fd == clock_fd) answer_late();
            else if (lines[fd].open) hear(fd);
        }
    }
}
