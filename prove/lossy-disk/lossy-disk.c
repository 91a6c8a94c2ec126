// lossy-disk: a disk whose power can be cut, as a FUSE file system with one file in memory.
//
//   lossy-disk BYTES MOUNTPOINT      runs in the foreground; prints "ready" once it is mounted
//
//   MOUNTPOINT/disk      the disk: for a loop device, and on that any file system
//   MOUNTPOINT/control   write a line to command it, read it for what the last cut did
//
// Its cache is volatile: a write is seen by reads at once, and reaches the platter with the next
// fsync, which the loop driver sends for every flush of its device. Commands:
//
//   cut SEED KEEP UNIT AFTER
//       The power fails, at once or, so that it strikes between a write and its fsync, after AFTER
//       more of them. Of what was written since the last fsync, each piece of UNIT bytes (512 or
//       4096) reaches the platter in KEEP of 100 cases, whatever became of those before it: writes
//       are dropped, torn, and overtake each other. Files that were open stay dead (EIO): nothing
//       that is left of the machine writes to the disk that the next machine opens.
//   fail AFTER COUNT
//       After so many writes, COUNT of them are refused with EIO and do nothing; then the disk is as
//       good as before. The page cache above it goes on showing what was refused.
//   lie
//       Until the cut, fsync answers and does nothing: a drive that lies about flushing.
//
// One thread serves all requests, one after another: a cut falls between two of them.
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <errno.h>
#include <fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

struct write {
  struct write *next;
  size_t offset, length;
  unsigned char bytes[];
};

static const char disk_path[] = "/disk", control_path[] = "/control";
static size_t disk_bytes;
static unsigned char *platter; // what a cut leaves
static unsigned char *cache;   // what a read sees
// Writes since the last fsync, in order.
static struct write *pending, **pending_end = &pending;
static unsigned long life = 1; // ends with a cut; a file that was opened in an earlier one is dead
static bool is_lying;
static char report[200] = "{\"cuts\":0}\n";

// The next cut, and how many writes and fsyncs come before it; -1: no cut is ordered.
static struct {
  long after;
  uint64_t seed;
  unsigned keep;
  size_t unit;
} ordered = {.after = -1};

// How many writes come before those that fail, and how many those are.
static struct {
  long after, count;
} failing;

// splitmix64
static uint64_t random_state;
static uint64_t next_random(void) {
  uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static struct write *take_pending(void) {
  struct write *first = pending;
  pending = first ? first->next : NULL;
  if (!pending) pending_end = &pending;
  return first;
}

static void flush_pending(void) {
  for (struct write *one; (one = take_pending()); free(one))
    memcpy(platter + one->offset, one->bytes, one->length);
}

static void cut(void) {
  unsigned long writes = 0, torn = 0, kept = 0, dropped = 0;
  random_state = ordered.seed;
  for (struct write *one = pending; one; one = one->next, writes++) {
    unsigned long kept_here = 0, dropped_here = 0;
    for (size_t done = 0, piece; done < one->length; done += piece) {
      piece = ordered.unit - (one->offset + done) % ordered.unit;
      if (piece > one->length - done) piece = one->length - done;
      if (next_random() % 100 < ordered.keep) {
        memcpy(platter + one->offset + done, one->bytes + done, piece);
        kept_here++;
      } else {
        dropped_here++;
      }
    }
    kept += kept_here;
    dropped += dropped_here;
    if (kept_here && dropped_here) torn++;
  }
  for (struct write *one; (one = take_pending()); free(one))
    memcpy(cache + one->offset, platter + one->offset, one->length);
  is_lying = false;
  failing.count = 0;
  ordered.after = -1;
  snprintf(report, sizeof report,
           "{\"cuts\":%lu,\"writes\":%lu,\"torn\":%lu,\"kept\":%lu,\"dropped\":%lu}\n", life++,
           writes, torn, kept, dropped);
}

// Before each write and fsync: the cut, where its time has come.
static void count_down(void) {
  if (ordered.after == 0) cut();
  else if (ordered.after > 0) ordered.after--;
}

static bool fails_now(void) {
  if (failing.count == 0 || failing.after-- > 0) return false;
  failing.count--;
  return true;
}

static int command(const char *bytes, size_t length) {
  char line[100];
  unsigned long long seed;
  unsigned keep;
  size_t unit;
  long after, count;
  if (length >= sizeof line) return -EINVAL;
  memcpy(line, bytes, length);
  line[length] = '\0';
  if (sscanf(line, "cut %llu %u %zu %ld", &seed, &keep, &unit, &after) == 4) {
    if (keep > 100 || unit == 0 || after < 0) return -EINVAL;
    ordered.seed = seed;
    ordered.keep = keep;
    ordered.unit = unit;
    ordered.after = after;
    if (after == 0) cut();
  } else if (sscanf(line, "fail %ld %ld", &after, &count) == 2) {
    if (after < 0 || count < 0) return -EINVAL;
    failing.after = after;
    failing.count = count;
  } else if (strcmp(line, "lie") == 0) {
    is_lying = true;
  } else {
    return -EINVAL;
  }
  return (int)length;
}

// A file's handle is the life in which it was opened; the control file's is 0.
static bool is_control(const struct fuse_file_info *file) { return file->fh == 0; }
static bool is_dead(const struct fuse_file_info *file) { return file->fh != life; }

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  // No cache of the kernel between the loop driver and us; no memory of names or sizes either.
  config->direct_io = 1;
  config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
  puts("ready");
  fflush(stdout);
  return NULL;
}

static int on_getattr(const char *path, struct stat *found, struct fuse_file_info *file) {
  (void)file;
  memset(found, 0, sizeof *found);
  found->st_nlink = 1;
  if (strcmp(path, "/") == 0) {
    found->st_mode = S_IFDIR | 0700;
  } else if (strcmp(path, disk_path) == 0) {
    found->st_mode = S_IFREG | 0600;
    found->st_size = (off_t)disk_bytes;
  } else if (strcmp(path, control_path) == 0) {
    found->st_mode = S_IFREG | 0600;
  } else {
    return -ENOENT;
  }
  return 0;
}

static int on_readdir(const char *path, void *names, fuse_fill_dir_t add, off_t offset,
                      struct fuse_file_info *file, enum fuse_readdir_flags flags) {
  (void)path, (void)offset, (void)file, (void)flags;
  static const char *const all[] = {".", "..", "disk", "control"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) add(names, all[i], NULL, 0, 0);
  return 0;
}

static int on_open(const char *path, struct fuse_file_info *file) {
  file->fh = strcmp(path, control_path) == 0 ? 0 : life;
  return 0;
}

static int on_read(const char *path, char *into, size_t length, off_t offset,
                   struct fuse_file_info *file) {
  (void)path;
  const unsigned char *from = is_control(file) ? (const unsigned char *)report : cache;
  size_t end = is_control(file) ? strlen(report) : disk_bytes;
  if (!is_control(file) && is_dead(file)) return -EIO;
  if ((size_t)offset >= end) return 0;
  if (length > end - (size_t)offset) length = end - (size_t)offset;
  memcpy(into, from + offset, length);
  return (int)length;
}

static int on_write(const char *path, const char *bytes, size_t length, off_t offset,
                    struct fuse_file_info *file) {
  (void)path;
  if (is_control(file)) return command(bytes, length);
  count_down();
  if (is_dead(file) || fails_now()) return -EIO;
  if ((size_t)offset > disk_bytes || length > disk_bytes - (size_t)offset) return -ENOSPC;
  struct write *one = malloc(sizeof *one + length);
  if (!one) return -ENOMEM;
  *one = (struct write){.offset = (size_t)offset, .length = length};
  memcpy(one->bytes, bytes, length);
  memcpy(cache + offset, bytes, length);
  *pending_end = one;
  pending_end = &one->next;
  return (int)length;
}

static int on_fsync(const char *path, int is_data_only, struct fuse_file_info *file) {
  (void)path, (void)is_data_only;
  if (is_control(file)) return 0;
  count_down();
  if (is_dead(file)) return -EIO;
  if (!is_lying) flush_pending();
  return 0;
}

// Whoever opens the control file to write truncates it first.
static int on_truncate(const char *path, off_t length, struct fuse_file_info *file) {
  (void)length, (void)file;
  return strcmp(path, control_path) == 0 ? 0 : -EPERM;
}

static const struct fuse_operations operations = {
    .init = on_init,
    .getattr = on_getattr,
    .readdir = on_readdir,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
    .truncate = on_truncate,
};

static unsigned char *zeros(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

int main(int count, char **arguments) {
  disk_bytes = count == 3 ? strtoull(arguments[1], NULL, 10) : 0;
  if (disk_bytes == 0) {
    fprintf(stderr, "Usage: lossy-disk BYTES MOUNTPOINT\n");
    return 2;
  }
  platter = zeros(disk_bytes);
  cache = zeros(disk_bytes);
  if (!platter || !cache) {
    perror("lossy-disk");
    return 1;
  }
  // Without the campaign nobody would unmount it.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  char *fuse_arguments[] = {arguments[0], "-f", "-s", arguments[2], NULL};
  return fuse_main(4, fuse_arguments, &operations, NULL);
}
