/*
 * The init's Node-API addon: one function, syscall(number, …up to six arguments), which returns the kernel's result
 * (below zero: the negated error). Numbers pass as they are, strings as NUL-terminated UTF-8, Buffers as pointers to
 * their bytes. What the calls mean is TypeScript's business (guest/syscalls.ts).
 *
 * Node-API: https://nodejs.org/api/n-api.html
 */
#include <node_api.h>

#include "../lib/sys.h"

#define MAX_TEXT 4096

static napi_value fail(napi_env env, const char *message)
{
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
    return 0;
}

static napi_value call(napi_env env, napi_callback_info info)
{
    static char texts[7][MAX_TEXT];
    napi_value arguments[7], result;
    size_t count = 7;
    long words[7] = {0};

    if (napi_get_cb_info(env, info, &count, arguments, 0, 0) != napi_ok || count < 1 || count > 7)
        return fail(env, "syscall takes a number and up to six arguments");
    for (size_t i = 0; i < count; i++) {
        napi_valuetype type;
        bool buffer = false;
        size_t n;
        napi_typeof(env, arguments[i], &type);
        napi_is_buffer(env, arguments[i], &buffer);
        if (buffer) {
            void *bytes = 0;
            napi_get_buffer_info(env, arguments[i], &bytes, &n);
            words[i] = SYS_L(bytes);
        } else if (type == napi_number) {
            int64_t value;
            napi_get_value_int64(env, arguments[i], &value);
            words[i] = value;
        } else if (type == napi_string) {
            napi_get_value_string_utf8(env, arguments[i], texts[i], MAX_TEXT, &n);
            /* Node-API cuts off at a whole character of up to four bytes. */
            if (n >= MAX_TEXT - 4)
                return fail(env, "a string argument is longer than 4091 bytes");
            words[i] = SYS_L(texts[i]);
        } else if (type != napi_null)
            return fail(env, "syscall takes numbers, strings, Buffers and null");
    }
    napi_create_int64(env, sys6(words[0], words[1], words[2], words[3], words[4], words[5], words[6]), &result);
    return result;
}

static napi_value address_of(napi_env env, napi_callback_info info)
{
    napi_value argument, result;
    size_t count = 1, n;
    bool buffer = false;
    void *bytes = 0;

    if (napi_get_cb_info(env, info, &count, &argument, 0, 0) == napi_ok && count == 1)
        napi_is_buffer(env, argument, &buffer);
    if (!buffer)
        return fail(env, "addressOf takes a Buffer");
    napi_get_buffer_info(env, argument, &bytes, &n);
    napi_create_int64(env, SYS_L(bytes), &result);
    return result;
}

NAPI_MODULE_INIT()
{
    napi_value function, address;
    (void)exports;
    napi_create_function(env, "syscall", NAPI_AUTO_LENGTH, call, 0, &function);
    napi_create_function(env, "addressOf", NAPI_AUTO_LENGTH, address_of, 0, &address);
    napi_set_named_property(env, function, "addressOf", address);
    return function;
}
