/* The program of the pods that `dure verify` makes: proves paths from inside.
 *
 *   witness                    answers every connection on TCP port 8080 with the name of its pod
 *   witness ask MS QUESTION... asks all at once, each for MS milliseconds, and prints a line for each:
 *                              "QUESTION ok MICROSECONDS [ANSWER]" or "QUESTION fail REASON"
 *     ping:IP        ICMP echo
 *     tcp:IP:PORT    connects and reads the name that answers
 *     name:NAME:PORT the same, after asking the nameserver of /etc/resolv.conf
 *
 * Freestanding as pause: no libc, the same source for x86-64 and arm64. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#if defined(__x86_64__)
enum {
  sys_read = 0,
  sys_write = 1,
  sys_open = 2,
  sys_close = 3,
  sys_rt_sigaction = 13,
  sys_socket = 41,
  sys_connect = 42,
  sys_accept = 43,
  sys_sendto = 44,
  sys_recvfrom = 45,
  sys_bind = 49,
  sys_listen = 50,
  sys_setsockopt = 54,
  sys_clone = 56,
  sys_exit = 60,
  sys_wait4 = 61,
  sys_uname = 63,
  sys_getpid = 39,
  sys_clock_gettime = 228
};
static long call(long n, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
static long open_file(const char* path) { return call(sys_open, (long)path, 0, 0, 0, 0, 0); }
__asm__(".globl restore\nrestore:\n mov $15, %rax\n syscall\n");
#elif defined(__aarch64__)
enum {
  sys_read = 63,
  sys_write = 64,
  sys_openat = 56,
  sys_close = 57,
  sys_rt_sigaction = 134,
  sys_socket = 198,
  sys_connect = 203,
  sys_accept = 202,
  sys_sendto = 206,
  sys_recvfrom = 207,
  sys_bind = 200,
  sys_listen = 201,
  sys_setsockopt = 208,
  sys_clone = 220,
  sys_exit = 93,
  sys_wait4 = 260,
  sys_uname = 160,
  sys_getpid = 172,
  sys_clock_gettime = 113
};
static long call(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
static long open_file(const char* path) { return call(sys_openat, -100, (long)path, 0, 0, 0, 0); }
__asm__(".globl restore\nrestore:\n mov x8, #139\n svc 0\n");
#else
#error "witness knows x86-64 and arm64"
#endif

extern void restore(void);

/* The compiler may ask for these. */
void* memset(void* to, int value, u64 size) {
  for (volatile u8* at = to; size--; ++at) *at = (u8)value;
  return to;
}
void* memcpy(void* to, const void* from, u64 size) {
  volatile u8* at = to;
  for (const u8* source = from; size--;) *at++ = *source++;
  return to;
}

enum {
  af_inet = 2,
  sock_stream = 1,
  sock_dgram = 2,
  sock_raw = 3,
  sol_socket = 1,
  so_reuseaddr = 2,
  so_rcvtimeo = 20,
  so_sndtimeo = 21,
  sigchld = 17,
  no_signal = 0x4000
};
enum {
  e_perm = 1,
  e_again = 11,
  e_acces = 13,
  e_in_progress = 115,
  e_timed_out = 110,
  e_refused = 111,
  e_no_route = 113,
  e_net_unreachable = 101
};

struct address {
  u16 family, port;
  u32 ip;
  u8 zero[8];
}; /* network order */
struct times {
  long seconds, rest;
};

static u64 length(const char* text) {
  u64 n = 0;
  while (text[n]) ++n;
  return n;
}
static int starts(const char* text, const char* with) {
  for (; *with; ++text, ++with)
    if (*text != *with) return 0;
  return 1;
}
static u16 swap16(u16 value) { return (u16)(value << 8 | value >> 8); }

static u64 now_us(void) {
  struct times t;
  call(sys_clock_gettime, 1, (long)&t, 0, 0, 0, 0);
  return (u64)t.seconds * 1000000 + (u64)t.rest / 1000;
}

/* A line that is written at once, so that lines of several processes do not mix. */
struct line {
  char text[600];
  u64 size;
};
static void put(struct line* out, const char* text) {
  while (*text && out->size < sizeof out->text - 1) out->text[out->size++] = *text++;
}
static void put_number(struct line* out, u64 value) {
  char digits[24];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10);
  while (value /= 10);
  char text[24];
  int i = 0;
  while (n) text[i++] = digits[--n];
  text[i] = 0;
  put(out, text);
}
static void flush(struct line* out) {
  out->text[out->size++] = '\n';
  call(sys_write, 1, (long)out->text, (long)out->size, 0, 0, 0);
}

static const char* reason_of(long error) {
  switch (-error) {
    case e_again:
    case e_in_progress:
    case e_timed_out:
      return "timeout";
    case e_refused:
      return "refused";
    case e_no_route:
      return "no-route";
    case e_net_unreachable:
      return "network-unreachable";
    case e_perm:
    case e_acces:
      return "forbidden";
  }
  return "error";
}

/* "10.0.0.1" followed by the end or by ':'; the rest is answered in `end`. */
static int parse_ip(const char* text, u32* out, const char** end) {
  u8 bytes[4];
  for (int i = 0; i < 4; ++i) {
    u32 value = 0;
    int digits = 0;
    for (; *text >= '0' && *text <= '9' && digits < 3; ++text, ++digits) value = value * 10 + (u32)(*text - '0');
    if (!digits || value > 255) return 0;
    bytes[i] = (u8)value;
    if (i < 3 && *text++ != '.') return 0;
  }
  memcpy(out, bytes, 4);
  *end = text;
  return 1;
}
static u16 parse_port(const char* text) {
  u32 value = 0;
  for (; *text >= '0' && *text <= '9'; ++text) value = value * 10 + (u32)(*text - '0');
  return (u16)value;
}

static long open_socket(int type, int protocol, u64 timeout_ms) {
  long fd = call(sys_socket, af_inet, type, protocol, 0, 0, 0);
  if (fd < 0) return fd;
  struct times limit = {(long)(timeout_ms / 1000), (long)(timeout_ms % 1000 * 1000)};
  call(sys_setsockopt, fd, sol_socket, so_rcvtimeo, (long)&limit, sizeof limit, 0);
  call(sys_setsockopt, fd, sol_socket, so_sndtimeo, (long)&limit, sizeof limit, 0);
  return fd;
}

static u16 checksum(const u8* data, u64 size) {
  u32 sum = 0;
  for (u64 i = 0; i + 1 < size; i += 2) sum += (u32)(data[i] << 8 | data[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (u16)~sum;
}

/* Three echoes; 0 when one came back. */
static long ping(u32 ip, u64 timeout_ms) {
  int raw = 1;
  long fd = open_socket(sock_raw, 1, timeout_ms / 3);
  if (fd == -e_perm || fd == -e_acces) raw = 0, fd = open_socket(sock_dgram, 1, timeout_ms / 3);
  if (fd < 0) return fd;
  u16 id = (u16)call(sys_getpid, 0, 0, 0, 0, 0, 0);
  struct address to = {af_inet, 0, ip, {0}};
  long last = -e_timed_out;
  for (u16 sequence = 1; sequence <= 3; ++sequence) {
    u8 packet[40] = {8, 0, 0, 0, (u8)(id >> 8), (u8)id, 0, (u8)sequence};
    u16 sum = checksum(packet, sizeof packet);
    packet[2] = (u8)(sum >> 8), packet[3] = (u8)sum;
    long sent = call(sys_sendto, fd, (long)packet, sizeof packet, 0, (long)&to, sizeof to);
    if (sent < 0) {
      last = sent;
      continue;
    }
    u64 until = now_us() + timeout_ms * 1000 / 3;
    while (now_us() < until) {
      u8 answer[256];
      long got = call(sys_recvfrom, fd, (long)answer, sizeof answer, 0, 0, 0);
      if (got < 0) break;
      u8* icmp = answer;
      if (raw) {
        if (got < 28) continue;
        u32 source;
        memcpy(&source, answer + 12, 4);
        icmp += (answer[0] & 15) * 4;
        if (source != ip || icmp[4] != (u8)(id >> 8) || icmp[5] != (u8)id) continue;
      }
      if (icmp[0] == 0) return 0;
    }
  }
  return last;
}

/* Connects, asks, and leaves the last line of the answer in `name`. */
static long fetch(u32 ip, u16 port, u64 timeout_ms, char* name, u64 room) {
  long fd = open_socket(sock_stream, 0, timeout_ms);
  if (fd < 0) return fd;
  struct address to = {af_inet, swap16(port), ip, {0}};
  long status = call(sys_connect, fd, (long)&to, sizeof to, 0, 0, 0);
  if (status < 0) return status;
  const char request[] = "GET / HTTP/1.0\r\n\r\n";
  call(sys_sendto, fd, (long)request, sizeof request - 1, no_signal, 0, 0);
  char answer[512];
  u64 size = 0;
  for (;;) {
    long got = call(sys_read, fd, (long)(answer + size), (long)(sizeof answer - 1 - size), 0, 0, 0);
    if (got < 0) return got;
    if (got == 0 || size + (u64)got >= sizeof answer - 1) {
      size += (u64)got;
      break;
    }
    size += (u64)got;
  }
  call(sys_close, fd, 0, 0, 0, 0, 0);
  while (size && (answer[size - 1] == '\n' || answer[size - 1] == '\r')) --size;
  u64 begin = size;
  while (begin && answer[begin - 1] != '\n') --begin;
  u64 n = 0;
  while (begin < size && n + 1 < room) name[n++] = answer[begin++];
  name[n] = 0;
  return n ? 0 : -e_timed_out;
}

static int nameserver(u32* out) {
  char text[4096];
  long fd = open_file("/etc/resolv.conf");
  if (fd < 0) return 0;
  long size = call(sys_read, fd, (long)text, sizeof text - 1, 0, 0, 0);
  call(sys_close, fd, 0, 0, 0, 0, 0);
  if (size <= 0) return 0;
  text[size] = 0;
  for (char* at = text; *at;) {
    const char* end;
    if (starts(at, "nameserver ") && parse_ip(at + 11, out, &end)) return 1;
    while (*at && *at != '\n') ++at;
    if (*at) ++at;
  }
  return 0;
}

/* The first address of a name; the reason in words when there is none. */
static const char* resolve(const char* name, u64 name_size, u64 timeout_ms, u32* out) {
  u32 server;
  if (!nameserver(&server)) return "no-nameserver";
  long fd = open_socket(sock_dgram, 0, timeout_ms / 3);
  if (fd < 0) return reason_of(fd);
  struct address to = {af_inet, swap16(53), server, {0}};
  u8 query[300] = {0x44, 0x55, 1, 0, 0, 1};
  u64 size = 12, label = size++;
  if (name_size > 250) return "name-too-long";
  for (u64 i = 0; i <= name_size; ++i) {
    if (i < name_size && name[i] != '.') {
      query[size++] = (u8)name[i];
      continue;
    }
    query[label] = (u8)(size - label - 1);
    label = size++;
  }
  query[label] = 0;
  query[size++] = 0, query[size++] = 1, query[size++] = 0, query[size++] = 1;
  for (int tries = 0; tries < 3; ++tries) {
    call(sys_sendto, fd, (long)query, (long)size, 0, (long)&to, sizeof to);
    u8 answer[600];
    long got = call(sys_recvfrom, fd, (long)answer, sizeof answer, 0, 0, 0);
    if (got < (long)size || answer[0] != query[0] || answer[1] != query[1]) continue;
    if (answer[3] & 15) return (answer[3] & 15) == 3 ? "no-such-name" : "dns-error";
    long at = (long)size;
    for (int count = answer[6] << 8 | answer[7]; count > 0 && at < got; --count) {
      while (at < got && answer[at] && answer[at] < 0xc0) at += answer[at] + 1;
      at += at < got && answer[at] ? 2 : 1;
      if (at + 10 > got) break;
      int type = answer[at] << 8 | answer[at + 1], bytes = answer[at + 8] << 8 | answer[at + 9];
      at += 10;
      if (type == 1 && bytes == 4 && at + 4 <= got) {
        memcpy(out, answer + at, 4);
        return 0;
      }
      at += bytes;
    }
    return "no-address";
  }
  return "dns-timeout";
}

static void answer_question(const char* question, u64 timeout_ms) {
  struct line out = {.size = 0};
  put(&out, question);
  const u64 began = now_us();
  const char *why = "bad-question", *end;
  char name[300] = "";
  u32 ip;
  long status = 1;
  if (starts(question, "ping:") && parse_ip(question + 5, &ip, &end)) {
    status = ping(ip, timeout_ms);
  } else if (starts(question, "tcp:") && parse_ip(question + 4, &ip, &end) && *end == ':') {
    status = fetch(ip, parse_port(end + 1), timeout_ms, name, sizeof name);
  } else if (starts(question, "name:")) {
    u64 size = length(question);
    while (size > 5 && question[size - 1] != ':') --size;
    why = resolve(question + 5, size - 6, timeout_ms, &ip);
    if (!why) status = fetch(ip, parse_port(question + size), timeout_ms, name, sizeof name);
  }
  if (status < 0) why = reason_of(status);
  if (status == 0) {
    put(&out, " ok ");
    put_number(&out, now_us() - began);
    if (*name) put(&out, " "), put(&out, name);
  } else {
    put(&out, " fail ");
    put(&out, why);
  }
  flush(&out);
}

static long fork_process(void) { return call(sys_clone, sigchld, 0, 0, 0, 0, 0); }
static void leave(int status) {
  for (;;) call(sys_exit, status, 0, 0, 0, 0, 0);
}

static int ask(int count, char** arguments) {
  if (count < 1) return 2;
  u64 timeout_ms = 0;
  for (const char* at = arguments[0]; *at >= '0' && *at <= '9'; ++at) timeout_ms = timeout_ms * 10 + (u64)(*at - '0');
  if (timeout_ms < 3) return 2;
  for (int i = 1; i < count; ++i)
    if (fork_process() == 0) {
      answer_question(arguments[i], timeout_ms);
      leave(0);
    }
  while (call(sys_wait4, -1, 0, 0, 0, 0, 0) > 0) {
  }
  return 0;
}

struct kernel_sigaction {
  void (*handler)(int);
  u64 flags;
  void (*restorer)(void);
  u64 mask;
};
static void on_end(int number) {
  (void)number;
  leave(0);
}
static void on_child(int number) {
  (void)number;
  while (call(sys_wait4, -1, 0, 1, 0, 0, 0) > 0) {
  }
}
static void handle(int number, void (*handler)(int)) {
  struct kernel_sigaction action = {handler, 0x04000000 | 0x10000000 | 1, restore,
                                    0}; /* restart what was interrupted */
  call(sys_rt_sigaction, number, (long)&action, 0, 8, 0, 0);
}

static int serve(void) {
  handle(2, on_end);
  handle(15, on_end);
  handle(sigchld, on_child);
  struct {
    char system[65], node[65], rest[4 * 65];
  } names;
  call(sys_uname, (long)&names, 0, 0, 0, 0, 0);
  long fd = call(sys_socket, af_inet, sock_stream, 0, 0, 0, 0);
  int on = 1;
  call(sys_setsockopt, fd, sol_socket, so_reuseaddr, (long)&on, sizeof on, 0);
  struct address any = {af_inet, swap16(8080), 0, {0}};
  if (call(sys_bind, fd, (long)&any, sizeof any, 0, 0, 0) < 0 || call(sys_listen, fd, 64, 0, 0, 0, 0) < 0) return 1;
  struct line hello = {.size = 0};
  put(&hello, "witness ");
  put(&hello, names.node);
  flush(&hello);
  for (;;) {
    long peer = call(sys_accept, fd, 0, 0, 0, 0, 0);
    if (peer < 0) continue;
    if (fork_process() == 0) {
      struct times limit = {2, 0};
      call(sys_setsockopt, peer, sol_socket, so_rcvtimeo, (long)&limit, sizeof limit, 0);
      char request[512];
      call(sys_read, peer, (long)request, sizeof request, 0, 0, 0);
      struct line out = {.size = 0};
      put(&out, "HTTP/1.0 200 OK\r\nContent-Length: ");
      put_number(&out, length(names.node) + 1);
      put(&out, "\r\n\r\n");
      put(&out, names.node);
      put(&out, "\n");
      call(sys_sendto, peer, (long)out.text, (long)out.size, no_signal, 0, 0);
      leave(0);
    }
    call(sys_close, peer, 0, 0, 0, 0, 0);
  }
}

__attribute__((noreturn, used)) void witness_main(long* stack) {
  const int count = (int)stack[0];
  char** arguments = (char**)(stack + 1);
  if (count > 1 && starts(arguments[1], "ask")) leave(ask(count - 2, arguments + 2));
  leave(serve());
  for (;;) {
  }
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call witness_main\n");
#else
__asm__(".globl _start\n_start:\n mov x0, sp\n bl witness_main\n");
#endif
