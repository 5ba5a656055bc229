// The policy of the toolchain tests in C++ for WASI, as a reactor: what it needs is made in `_initialize`.
#include <stdio.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("env"), import_name(#name)))
extern "C" {
HOST(host_log) int host_log(int level, const char *text, int len);
HOST(host_get_header) int host_get_header(const char *name, int name_len, char *out);
HOST(host_reject) void host_reject(int code, const char *text, int len);
}

struct Counter {
  int calls;
  int step;
  Counter() : calls(0), step(host_log(3, "made", 4) + 1) {}
};
static Counter counter;

extern "C" __attribute__((export_name("policy_check"))) int policy_check(const volatile char *frame, int len) {
  static char text[64], value[1024];
  counter.calls += counter.step;
  host_log(2, text, snprintf(text, sizeof text, "call %d: %d bytes", counter.calls, len));
  int got = host_get_header("origin", 6, value);
  const char *end = ".evil.example";
  int end_len = (int)strlen(end);
  if (got >= end_len && memcmp(value + got - end_len, end, end_len) == 0) {
    char words[1100];
    host_reject(7, words, snprintf(words, sizeof words, "%.*s is not welcome", got, value));
  }
  if (len >= 5 && frame[0] == 'p' && frame[1] == 'a' && frame[2] == 'n' && frame[3] == 'i' && frame[4] == 'c') {
    __builtin_trap();
  }
  char last = len == 0 ? 0 : frame[len - 1];
  return last == '!' ? 2 : last == '?' ? 1 : 0;
}
