// SPDX-License-Identifier: BSD-2-Clause
//! The guest API for Rust, from 1.63 on. No dependencies.
//!
//! ```ignore
//! use kvm::{Request, Response};
//!
//! fn main() {
//!     kvm::serve(|r: &Request| Response::text(format!("Hello {}\n", r.url())));
//! }
//! ```
//!
//! Everything that was made before `serve` is there in every request, and what
//! a request changes is gone after it. That is also true of seeds: a
//! `HashMap`'s keys and a generator of random numbers repeat themselves. Seed
//! generators in the handler, from [`Request::seed`].
//!
//! A panic in the handler is status 500, its message in the log.

use std::arch::asm;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::slice;
use std::str;
use std::sync::Mutex;

/// Any call of the guest API by its number.
///
/// # Safety
/// Pointers among the arguments must be what the call expects.
pub unsafe fn call(number: u32, args: [usize; 6]) -> isize {
    let result: isize;
    asm!(
        "out 0, eax",
        inlateout("rax") number as usize => result,
        in("rdi") args[0],
        in("rsi") args[1],
        in("rdx") args[2],
        in("rcx") args[3],
        in("r8") args[4],
        in("r9") args[5],
        options(nostack)
    );
    result
}

#[repr(C)]
struct Field {
    text: *const u8,
    colon: u32,
    len: u32,
}

/// What is asked. It lives until the answer.
#[repr(C)]
pub struct Request {
    method: *const u8,
    url: *const u8,
    arg: *const u8,
    content_type: *const u8,
    method_len: u16,
    url_len: u16,
    arg_len: u16,
    content_type_len: u16,
    content: *const u8,
    content_len: usize,
    headers: *const Field,
    num_headers: u16,
    info_flags: u16,
    reserved0: u32,
    prng: [u64; 2],
    reserved1: [u64; 2],
}

impl Request {
    fn bytes(&self, p: *const u8, len: usize) -> &[u8] {
        if p.is_null() || len == 0 {
            return &[];
        }
        // The host put it there, and it stays for the whole request.
        unsafe { slice::from_raw_parts(p, len) }
    }

    /// Bytes that are no UTF-8 make it empty: see `url_bytes`.
    fn text(&self, p: *const u8, len: u16) -> &str {
        str::from_utf8(self.bytes(p, len.into())).unwrap_or("")
    }

    pub fn method(&self) -> &str {
        self.text(self.method, self.method_len)
    }

    /// Empty when it is no UTF-8.
    pub fn url(&self) -> &str {
        self.text(self.url, self.url_len)
    }

    pub fn url_bytes(&self) -> &[u8] {
        self.bytes(self.url, self.url_len.into())
    }

    /// The argument beside the URL, from VCL. Empty when it is no UTF-8.
    pub fn arg(&self) -> &str {
        self.text(self.arg, self.arg_len)
    }

    pub fn content_type(&self) -> &str {
        self.text(self.content_type, self.content_type_len)
    }

    pub fn body(&self) -> &[u8] {
        self.bytes(self.content, self.content_len)
    }

    /// Name and value of each header, without those that are no UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = if self.headers.is_null() {
            &[]
        } else {
            unsafe {
                slice::from_raw_parts(self.headers, self.num_headers.into())
            }
        };
        fields.iter().filter_map(move |f| {
            let line = str::from_utf8(self.bytes(f.text, f.len as usize));
            let (name, value) = line.ok()?.split_once(':')?;
            Some((name, value.trim()))
        })
    }

    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// For generators of random numbers: new in every request.
    pub fn seed(&self) -> u128 {
        u128::from(self.prng[0]) << 64 | u128::from(self.prng[1])
    }

    /// A warm-up, not a client.
    pub fn is_warmup(&self) -> bool {
        self.info_flags & 1 != 0
    }
}

#[repr(C)]
struct Line {
    text: *const u8,
    len: usize,
}

#[repr(C)]
struct Extra {
    headers: *const Line,
    num_headers: u16,
    cached: bool,
    ttl: f32,
    grace: f32,
    keep: f32,
    reserved: [u64; 4],
}

const _: () = assert!(std::mem::size_of::<Request>() == 104);
const _: () = assert!(std::mem::size_of::<Extra>() == 56);

/// The answer.
pub struct Response {
    status: u16,
    content_type: String,
    body: Vec<u8>,
    headers: Vec<String>,
    cache: Option<(f32, f32, f32)>,
}

impl Response {
    /// Any body with its type.
    pub fn new(content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status: 200,
            content_type: content_type.into(),
            body: body.into(),
            headers: Vec::new(),
            cache: None,
        }
    }

    pub fn text(body: impl Into<String>) -> Self {
        Response::new("text/plain; charset=utf-8", body.into())
    }

    /// 200 to 599.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header; at most 64.
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push(format!("{}: {}", name, value));
        self
    }

    /// How long it may be cached, in seconds; a ttl of 0 forbids it.
    pub fn cache(mut self, ttl: f32, grace: f32, keep: f32) -> Self {
        self.cache = Some((ttl, grace, keep));
        self
    }

    /// Ends the request.
    fn send(&self) {
        let lines: Vec<Line> = self
            .headers
            .iter()
            .map(|h| Line { text: h.as_ptr(), len: h.len() })
            .collect();
        let (ttl, grace, keep) = self.cache.unwrap_or((0.0, 0.0, 0.0));
        let extra = Extra {
            headers: lines.as_ptr(),
            num_headers: u16::try_from(lines.len()).unwrap_or(u16::MAX),
            cached: ttl > 0.0,
            ttl: if self.cache.is_some() && ttl <= 0.0 { 0.001 } else { ttl },
            grace,
            keep,
            reserved: [0; 4],
        };
        unsafe {
            call(
                0x10010,
                [
                    self.status.into(),
                    self.content_type.as_ptr() as usize,
                    self.content_type.len(),
                    self.body.as_ptr() as usize,
                    self.body.len(),
                    &extra as *const Extra as usize,
                ],
            );
        }
    }
}

/// A line in the Varnish log.
pub fn log(text: &str) {
    unsafe {
        call(0x7F000, [text.as_ptr() as usize, text.len(), 0, 0, 0, 0]);
    }
}

type Handler = Box<dyn Fn(&Request) -> Response + Send>;

static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);

extern "C" fn enter(request: *const Request) {
    let answer = {
        let handler = HANDLER.lock().unwrap_or_else(|e| e.into_inner());
        catch_unwind(AssertUnwindSafe(|| {
            (handler.as_ref().expect("serve() set it"))(unsafe { &*request })
        }))
    };
    answer
        .unwrap_or_else(|_| {
            Response::text("The program failed; its log says why.\n").status(500)
        })
        .send();
}

/// Waits for requests; does not return.
pub fn serve(handler: impl Fn(&Request) -> Response + Send + 'static) -> ! {
    std::panic::set_hook(Box::new(|what| log(&what.to_string())));
    *HANDLER.lock().expect("nobody else has it") = Some(Box::new(handler));
    unsafe {
        call(0x10000, [3, enter as *const () as usize, 0, 0, 0, 0]);
        call(0x10001, [0; 6]);
    }
    unreachable!("requests go to the handler");
}
