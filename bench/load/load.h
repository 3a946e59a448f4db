/* Load generators of the bench: what is on both sides of a streamer, in C so that it is never the slow part. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Payload is taken from this memory repeatedly. 256 MiB does not fit in a CPU's cache, like the memory of an application. */
#define RING_BYTES (256u << 20)
#define PAGE 4096u
/* Size of a small image file, like CRIU's fdinfo and core files. */
#define SMALL_BYTES 400u
/* The size that a streamer gives to the pipe of a reader. */
#define PIPE_BYTES (1 << 20)
#define MAX_SHARDS 32

/* The content of a dump: `small` small files, and one of `bytes` bytes. */
struct image {
	uint64_t bytes;
	unsigned small;
};

/* main.c. `die` prints what failed, and ends the whole run. */
double now(void);
void die(const char *what);

/* run.c: one run, according to `args` ("key=value"). */
int run(char **args, char **command);

/* process.c */
pid_t start(char **command, const int *fds, int count, int first);
pid_t start_script(const char *script, int fd, int at);
void end(pid_t pid, const char *what);
void fail(const char *what, int status);
double cpu_of(pid_t pid);

/* link.c: what is between a streamer and its readers or senders. */
void make_link(const char *kind, int ends[2]);
void send_bytes(int fd, uint64_t bytes);
void send_all(int ends[][2], unsigned count, uint64_t bytes);
uint64_t discard(int fd);
int drain(void);
int keep(void);

/* memory.c */
void fill(char *memory, uint64_t bytes);
void ring_make(uint64_t bytes);
void *ring_at(uint64_t offset, size_t *length);
void warm(uint64_t bytes);
int hold(uint64_t bytes, unsigned threads);

/* criu.c: the dumping and the restoring stand-in; both return the payload bytes moved. */
uint64_t criu_dump(int socket, const struct image *image);
uint64_t criu_restore(int socket, const struct image *image);
int criu_connect(const char *dir, const char *name);

/* watch.c: memory in use on the whole machine, sampled by a thread. */
void watch_start(void);
uint64_t watch_stop(void);

#endif
