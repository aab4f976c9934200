"""Functions of libc replaced by Python ones in the running process.

LMDB writes from C, so what it does to its file is seen only below Python. A compiler for a library to preload is not
on every machine, and `strace` neither. But a library calls libc through a table of addresses of its own, which the
dynamic linker fills in and which can be found and changed from inside the process: that is done here, with `ctypes`.
Works on Linux with ELF libraries of 64 bits (x86-64 and AArch64).
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

PT_DYNAMIC: Final = 2
DT_PLTRELSZ, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_JMPREL = 2, 5, 6, 7, 8, 23
SYMBOL_SIZE: Final = 24
RELOCATION_SIZE: Final = 24

# GLOB_DAT and JUMP_SLOT of x86-64 and AArch64: slots that hold the address of an imported function.
_SLOT_TYPES: Final = {"x86_64": (6, 7), "aarch64": (1025, 1026)}

PROTECTION: Final = mmap.PROT_READ | mmap.PROT_WRITE


class _Segment(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("physical", ctypes.c_uint64),
        ("file_size", ctypes.c_uint64),
        ("memory_size", ctypes.c_uint64),
        ("align", ctypes.c_uint64),
    )


class _Loaded(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("segment_count", ctypes.c_uint16),
    )


@dataclass(frozen=True, slots=True)
class Library:
    """An executable or library that is loaded in this process.

    Attributes:
        name: Its path; empty for the executable itself.
        base: Where it is loaded.
        dynamic: Address of its dynamic section.
    """

    name: str
    base: int
    dynamic: int


def loaded_libraries() -> list[Library]:
    """Everything that is loaded now and links dynamically."""
    found: list[Library] = []

    def visit(info: Any, size: int, data: int | None) -> int:
        loaded = info.contents
        for number in range(loaded.segment_count):
            segment = loaded.segments[number]
            if segment.type == PT_DYNAMIC:
                address = loaded.base + segment.address
                found.append(Library((loaded.name or b"").decode(), loaded.base, address))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(kind(visit), None)
    return found


def import_slots(library: Library) -> Iterator[tuple[str, int]]:
    """The functions a library imports, each with the address of the slot that it calls through."""
    tags: dict[int, int] = {}
    address = library.dynamic
    while True:
        tag, value = (ctypes.c_uint64 * 2).from_address(address)
        if tag == 0:
            break
        tags[tag] = value
        address += 16
    if DT_SYMTAB not in tags or DT_STRTAB not in tags:
        return

    def place(tag: int) -> int:
        # glibc has turned these into addresses, other C libraries leave them relative.
        return tags[tag] if tags[tag] >= library.base else tags[tag] + library.base

    slot_types = _SLOT_TYPES[_machine()]
    symbols, names = place(DT_SYMTAB), place(DT_STRTAB)
    for table, size in ((DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)):
        if table not in tags:
            continue
        start = place(table)
        for entry in range(start, start + tags[size], RELOCATION_SIZE):
            offset, info = (ctypes.c_uint64 * 2).from_address(entry)
            if info & 0xFFFFFFFF in slot_types:
                symbol = symbols + (info >> 32) * SYMBOL_SIZE
                name = ctypes.string_at(names + ctypes.c_uint32.from_address(symbol).value)
                yield name.decode(), library.base + offset


@contextmanager
def hooked(replacements: Mapping[str, Any], wanted: Callable[[str], bool]) -> Iterator[dict[str, list[str]]]:
    """Have libraries call Python functions in place of libc's, inside a `with` block.

    Args:
        replacements: For each name, a C callable made by `ctypes.CFUNCTYPE`.
        wanted: Which libraries, by their path; the executable's is empty.

    Yields:
        For each library that was changed, the functions it imports among those.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    page_size = mmap.PAGESIZE
    old: list[tuple[int, int]] = []
    found: dict[str, list[str]] = {}
    try:
        for library in loaded_libraries():
            if not wanted(library.name):
                continue
            for name, slot in import_slots(library):
                replacement = replacements.get(name)
                if replacement is None:
                    continue
                start = slot - slot % page_size
                # The linker may have made the table read-only after filling it.
                if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(page_size), PROTECTION):
                    raise OSError(ctypes.get_errno(), f"the table of {library.name} cannot be changed")
                place = ctypes.c_uint64.from_address(slot)
                old.append((slot, place.value))
                place.value = ctypes.cast(replacement, ctypes.c_void_p).value or 0
                found.setdefault(library.name, []).append(name)
        yield found
    finally:
        for slot, value in old:
            ctypes.c_uint64.from_address(slot).value = value


def _machine() -> str:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _SLOT_TYPES:
        raise NotImplementedError(f"hooks are made for Linux on {', '.join(_SLOT_TYPES)}, not for {machine}")
    return machine
