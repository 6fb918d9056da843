# SPDX-License-Identifier: BSD-2-Clause
"""Numbers and names of the guest API."""

CALLS: dict[int, str] = {
    0x10000: "register_func", 0x10001: "wait_for_requests",
    0x10002: "wait_for_requests_paused", 0x10005: "sys_set_cacheable",
    0x10010: "sys_backend_response", 0x10011: "storage_return",
    0x10012: "begin_streaming_response", 0x10013: "storage_noreturn",
    0x10020: "sys_http_append", 0x10021: "sys_http_set",
    0x10022: "sys_http_find", 0x10023: "sys_http_method",
    0x10030: "sys_regex_compile", 0x10031: "sys_regex_free",
    0x10032: "sys_regex_match", 0x10033: "sys_regex_subst",
    0x10035: "sys_regex_copyto", 0x10500: "sys_sockets_write",
    0x10700: "shared_memory_area", 0x10703: "sys_make_ephemeral",
    0x10706: "sys_is_storage", 0x10707: "sys_storage_allow",
    0x10708: "storage_callv", 0x10709: "sys_storage_task",
    0x1070A: "stop_storage_task", 0x10710: "multiprocess",
    0x10711: "multiprocess_array", 0x10712: "multiprocess_clone",
    0x10713: "multiprocess_wait", 0x10A00: "get_meminfo",
    0x20000: "sys_fetch", 0x20001: "sys_request", 0x30400: "sys_fetch_method",
    0x7F000: "sys_log",
    0x7FDEB: "sys_is_debug", 0x7F7F7: "sys_breakpoint",
}
