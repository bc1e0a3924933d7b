/* The few Windows types an HDV source needs: Windows' own where there is Windows, else ours of the same size.
 * Ref: Windows SDK (basetsd.h, guiddef.h, winerror.h), 64-bit. */
#ifndef HDVLAB_WINDOWS_TYPES_H
#define HDVLAB_WINDOWS_TYPES_H

#include <stdint.h>

#ifdef _WIN32

#include <windows.h> /* HANDLE is a real one there: CreateEvent's, CreateFileMapping's */

#else

typedef int32_t HRESULT; /* Windows' long: 32 bits there, 64 on LP64 */
typedef int32_t BOOL;
typedef uint8_t BYTE, UINT8, UCHAR, BOOLEAN;
typedef uint16_t UINT16, WORD, USHORT, WCHAR; /* UTF-16 units, never wchar_t */
typedef uint32_t UINT32, DWORD, ULONG, UINT;
typedef uint64_t UINT64, ULONG64, ULONGLONG;
typedef int16_t INT16;
typedef int32_t INT32, LONG, INT;
typedef int64_t INT64, LONG64, LONGLONG;
typedef uintptr_t ULONG_PTR, SIZE_T;
typedef void VOID, *PVOID;
typedef void *HANDLE; /* a file descriptor, cast by way of intptr_t: events are eventfds, sections are memfds or files */
typedef WCHAR *LPWSTR, *PWSTR;
typedef const WCHAR *LPCWSTR, *PCWSTR; /* a literal: (PCWSTR)u"text"; Windows' own L"text" has 32-bit units here */

typedef struct _GUID {
    uint32_t Data1;
    uint16_t Data2;
    uint16_t Data3;
    uint8_t Data4[8];
} GUID;

#define TRUE 1
#define FALSE 0
#define WINAPI
#define CALLBACK
#define _In_
#define _In_opt_
#define _Out_
#define _Inout_
#define _In_reads_(n)
#define _Out_writes_(n)

#define SUCCEEDED(hr) (((HRESULT)(hr)) >= 0)
#define FAILED(hr) (((HRESULT)(hr)) < 0)

#define S_OK ((HRESULT)0)
#define E_PENDING ((HRESULT)0x8000000A)
#define E_NOTIMPL ((HRESULT)0x80004001)
#define E_POINTER ((HRESULT)0x80004003)
#define E_ABORT ((HRESULT)0x80004004)
#define E_FAIL ((HRESULT)0x80004005)
#define E_UNEXPECTED ((HRESULT)0x8000FFFF)
#define E_ACCESSDENIED ((HRESULT)0x80070005)
#define E_HANDLE ((HRESULT)0x80070006)
#define E_OUTOFMEMORY ((HRESULT)0x8007000E)
#define E_INVALIDARG ((HRESULT)0x80070057)
#define HRESULT_FROM_WIN32(code) ((HRESULT)(0x80070000u | (code)))
#define ERROR_TOO_MANY_OPEN_FILES 0x4u
#define ERROR_NOT_SUPPORTED 0x32u
#define ERROR_DISK_FULL 0x70u
#define ERROR_BUSY 0xAAu
#define ERROR_ALREADY_EXISTS 0xB7u
#define ERROR_ARITHMETIC_OVERFLOW 0x216u
#define ERROR_NOACCESS 0x3E6u
#define ERROR_POSSIBLE_DEADLOCK 0x46Bu
#define ERROR_NOT_FOUND 0x490u
#define ERROR_CANCELLED 0x4C7u
#define ERROR_TIMEOUT 0x5B4u
#define ERROR_NOT_ENOUGH_QUOTA 0x718u
#define ERROR_INVALID_STATE 0x139Fu
#define INFINITE 0xFFFFFFFFu
#define GENERIC_ALL 0x10000000u

#endif

/* What the ABI promises, said to the compiler too. */
#ifdef __cplusplus
#define HDVLAB_ASSERT(condition, text) static_assert(condition, text)
#else
#define HDVLAB_ASSERT(condition, text) _Static_assert(condition, text)
#endif

HDVLAB_ASSERT(sizeof(HRESULT) == 4 && (HRESULT)-1 < 0, "HRESULT is a signed 32-bit number");
HDVLAB_ASSERT(sizeof(BOOL) == 4 && sizeof(WCHAR) == 2 && sizeof(GUID) == 16, "base types are Windows'");
HDVLAB_ASSERT(sizeof(HANDLE) == 8, "the ABI is that of 64-bit Windows");

#endif
