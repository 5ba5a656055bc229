// The policy of the toolchain tests in Rust, with the standard library: allocation, formatting and panics included.
use std::cell::Cell;

#[link(wasm_import_module = "env")]
extern "C" {
    fn host_log(level: i32, text: *const u8, len: i32) -> i32;
    fn host_get_header(name: *const u8, name_len: i32, out: *mut u8) -> i32;
    fn host_reject(code: i32, text: *const u8, len: i32) -> i32;
}

thread_local! {
    static CALLS: Cell<u32> = Cell::new(0);
}

#[no_mangle]
pub extern "C" fn policy_check(at: i32, len: i32) -> i32 {
    // The frame begins at address 0, which Rust takes for a null pointer: read it byte by byte, as from a device.
    let frame: Vec<u8> = (0..len).map(|i| unsafe { ((at + i) as *const u8).read_volatile() }).collect();
    let calls = CALLS.with(|calls| {
        calls.set(calls.get() + 1);
        calls.get()
    });
    let text = format!("call {}: {} bytes", calls, frame.len());
    unsafe { host_log(2, text.as_ptr(), text.len() as i32) };
    let name = "origin";
    let mut value = vec![0u8; 1024];
    let got = unsafe { host_get_header(name.as_ptr(), name.len() as i32, value.as_mut_ptr()) };
    if got > 0 && value[..got as usize].ends_with(b".evil.example") {
        let words = format!("{} is not welcome", String::from_utf8_lossy(&value[..got as usize]));
        unsafe { host_reject(7, words.as_ptr(), words.len() as i32) };
    }
    if frame.starts_with(b"panic") {
        panic!("as asked");
    }
    match frame.last() {
        Some(b'!') => 2,
        Some(b'?') => 1,
        _ => 0,
    }
}
