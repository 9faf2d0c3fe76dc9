/* The program of every pod's sandbox: holds the namespaces, reaps what is left over, and ends when told to.
 * Freestanding: no libc, a few KB, the same source for x86-64 and arm64. */

#if defined(__x86_64__)
enum { sys_rt_sigaction = 13, sys_pause = 34, sys_getpid = 39, sys_exit = 60, sys_wait4 = 61, sys_write = 1 };
static long call4(long n, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}
static void wait_for_signal(void) { call4(sys_pause, 0, 0, 0, 0); }
__asm__(".globl restore\nrestore:\n mov $15, %rax\n syscall\n");
#elif defined(__aarch64__)
enum { sys_rt_sigaction = 134, sys_ppoll = 73, sys_getpid = 172, sys_exit = 93, sys_wait4 = 260, sys_write = 64 };
static long call4(long n, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
static void wait_for_signal(void) {
  register long x8 __asm__("x8") = sys_ppoll;
  register long x0 __asm__("x0") = 0;
  register long x1 __asm__("x1") = 0;
  register long x2 __asm__("x2") = 0;
  register long x3 __asm__("x3") = 0;
  register long x4 __asm__("x4") = 0;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
}
__asm__(".globl restore\nrestore:\n mov x8, #139\n svc 0\n");
#else
#error "pause knows x86-64 and arm64"
#endif

extern void restore(void);

struct kernel_sigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

enum { sigint = 2, sigterm = 15, sigchld = 17, wnohang = 1 };
enum { sa_nocldstop = 1, sa_restorer = 0x04000000 };

static void on_end(int number) {
  (void)number;
  call4(sys_exit, 0, 0, 0, 0);
}

static void on_child(int number) {
  (void)number;
  while (call4(sys_wait4, -1, 0, wnohang, 0) > 0) {
  }
}

static void handle(int number, void (*handler)(int)) {
  struct kernel_sigaction action;
  action.handler = handler;
  action.flags = sa_restorer | sa_nocldstop;
  action.restorer = restore;
  action.mask = 0;
  call4(sys_rt_sigaction, number, (long)&action, 0, sizeof action.mask);
}

__attribute__((noreturn, used)) void pause_main(void) {
  handle(sigint, on_end);
  handle(sigterm, on_end);
  handle(sigchld, on_child);
  for (;;) wait_for_signal();
}

/* The kernel enters with an aligned stack and no return address. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n and $-16, %rsp\n call pause_main\n");
#else
__asm__(".globl _start\n_start:\n bl pause_main\n");
#endif
