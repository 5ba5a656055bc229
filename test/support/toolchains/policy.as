// The policy of the toolchain tests in AssemblyScript, with its own runtime: garbage collector and text included.
@external("env", "host_log")
declare function host_log(level: i32, text: usize, len: i32): i32
@external("env", "host_get_header")
declare function host_get_header(name: usize, nameLen: i32, out: usize): i32
@external("env", "host_reject")
declare function host_reject(code: i32, text: usize, len: i32): i32

let calls = 0

export function policy_check(at: usize, len: i32): i32 {
  calls++
  const text = String.UTF8.encode(`call ${calls}: ${len} bytes`)
  host_log(2, changetype<usize>(text), text.byteLength)
  const name = String.UTF8.encode('origin')
  const value = new ArrayBuffer(1024)
  const got = host_get_header(changetype<usize>(name), name.byteLength, changetype<usize>(value))
  if (got > 0) {
    const origin = String.UTF8.decodeUnsafe(changetype<usize>(value), got)
    if (origin.endsWith('.evil.example')) {
      const words = String.UTF8.encode(`${origin} is not welcome`)
      host_reject(7, changetype<usize>(words), words.byteLength)
    }
  }
  if (len >= 5 && String.UTF8.decodeUnsafe(at, 5) == 'panic') throw new Error('as asked')
  const last = len == 0 ? 0 : load<u8>(at + len - 1)
  return last == 0x21 ? 2 : last == 0x3f ? 1 : 0
}
