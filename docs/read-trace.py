#!/usr/bin/env python3
"""Reads a recording of ivrs-trace (.ivt) by docs/trace-format.md alone.

    read-trace.py FILE             a JSON object a section, and one of what is missing
    read-trace.py --lines FILE     the same with a line an event and a file of the host
    read-trace.py --extract DIR FILE   write the files of the host that were read below DIR

It shares no code with the program; the tests hold the two against each other.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

MAGIC = b"\x89IVT\r\n\x1a\n"
FILE_HEADER = struct.Struct("<8sHHI")
SECTION_HEADER = struct.Struct("<HHIIII")
PART_HEADER = struct.Struct("<III")
RECORD_HEADER = struct.Struct("<BBHII")
EVENTS_HEADER = struct.Struct("<QII")
EVENT_HEADER = struct.Struct("QIIHHI16s")  # in the byte order of the recorded host
INDEX_ENTRY = struct.Struct("<HHQQ")
MAX_SECTION = 8 << 20
MAX_RATIO = 512
MAX_EVENT = 64 << 10
ZSTD = 1
KINDS = {1: "start", 2: "probes", 3: "files", 4: "events", 5: "loss", 6: "end", 7: "index",
         8: "continues"}
QUESTIONS = {0: "root", 1: "place", 2: "names", 3: "content", 4: "target"}
ANSWERS = {0: "absent", 1: "unreadable", 2: "read", 3: "directory"}


class Damaged(Exception):
    """A section whose content cannot be used."""


def unzstd(packed, length):
    """Python has zstd since 3.14; before, a module or the program of that name does it."""
    for name in ("compression.zstd", "zstandard"):
        try:
            module = __import__(name, fromlist=["x"])
        except ImportError:
            continue
        if name == "zstandard":
            return module.ZstdDecompressor().decompress(packed, max_output_size=length)
        return module.decompress(packed)
    if shutil.which("zstd") is None:
        sys.exit("read-trace.py: needs Python 3.14, the module zstandard, or the program zstd")
    done = subprocess.run(["zstd", "-dcq"], input=packed, capture_output=True, check=False)
    if done.returncode != 0:
        raise Damaged("cannot be unpacked")
    return done.stdout


def sections(data, state):
    """Offset, kind and content of each section that can be used."""
    if len(data) < FILE_HEADER.size or not data.startswith(MAGIC):
        sys.exit("read-trace.py: not a recording")
    _, version, _, crc = FILE_HEADER.unpack_from(data)
    if zlib.crc32(data[:12]) != crc or version != 1:
        sys.exit("read-trace.py: a damaged header, or another version")
    at = FILE_HEADER.size
    while at < len(data):
        header = data[at:at + SECTION_HEADER.size]
        if len(header) < SECTION_HEADER.size:
            state["stopped"] = at
            break
        kind, flags, stored, unpacked, content_crc, header_crc = SECTION_HEADER.unpack(header)
        small = max(stored, unpacked) <= MAX_SECTION
        small = small and unpacked <= MAX_RATIO * (stored + SECTION_HEADER.size)
        begin = at + SECTION_HEADER.size
        if zlib.crc32(header[:16]) != header_crc or not small or begin + stored > len(data):
            state["stopped"] = at
            break
        offset, at = at, begin + stored
        state["closed"] = kind == 7
        if flags & ~ZSTD:
            state["closed"] = False
            state["unknown_sections"] += 1
            continue
        content = data[begin:at]
        try:
            if zlib.crc32(content) != content_crc:
                raise Damaged("does not match its CRC")
            if flags & ZSTD:
                content = unzstd(content, unpacked)
            if len(content) != unpacked:
                raise Damaged("is not as long as it says")
            yield offset, kind, content
        except (Damaged, ValueError, struct.error) as error:
            state["damaged"].append({"offset": offset, "kind": KINDS.get(kind), "why": str(error)})
    if state["stopped"] is not None:
        state["closed"] = False
    state["length"] = at


def records(content):
    """Question, answer, path and data of what was read of the host."""
    at = PART_HEADER.size
    while at < len(content):
        question, answer, _, path, data = RECORD_HEADER.unpack_from(content, at)
        at += RECORD_HEADER.size
        if at + path + data > len(content):
            raise Damaged("a record is cut")
        yield question, answer, content[at:at + path], content[at + path:at + path + data]
        at += path + data


def events(content):
    """Number and bytes of each event."""
    first, count, _ = EVENTS_HEADER.unpack_from(content)
    at = EVENTS_HEADER.size
    found = []
    for number in range(first, first + count):
        (length,) = struct.unpack_from("<I", content, at)
        at += 4
        if length > MAX_EVENT or at + length > len(content):
            raise Damaged("an event is cut")
        found.append((number, content[at:at + length]))
        at += length
    if at != len(content):
        raise Damaged("it has more than its events")
    return first, found


def event_line(number, event, order):
    line = {"number": number, "length": len(event), "crc": zlib.crc32(event)}
    if len(event) >= EVENT_HEADER.size:
        header = struct.Struct(order + "QIIHHI16s").unpack_from(event)
        line.update(time_ns=header[0], pid=header[1], tid=header[2], kind=header[3],
                    probe=header[4], cpu=header[5],
                    comm=header[6].split(b"\0")[0].decode("utf-8", "backslashreplace"))
    return line


def extract(folder, question, answer, path, data):
    """Writes what was in a file; a path that leads anywhere else is left out."""
    parts = [part for part in path.decode("utf-8", "surrogateescape").split("/") if part]
    if question != 3 or answer != 2 or ".." in parts or not parts:
        return
    target = os.path.join(folder, *parts)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--extract", metavar="DIR")
    parser.add_argument("file")
    args = parser.parse_args()
    with open(args.file, "rb") as file:
        data = file.read()
    state = {"closed": False, "stopped": None, "damaged": [], "unknown_sections": 0,
             "events": 0, "missing_events": 0}
    expected = 0
    order = "<"

    def show(value):
        # ASCII only: what is in a file is not to be trusted by a terminal.
        print(json.dumps(value))

    for offset, kind, content in sections(data, state):
        section = {"offset": offset, "kind": kind, "name": KINDS.get(kind), "length": len(content)}
        lines = []
        try:
            if kind in (1, 2, 5, 6, 8):
                value = json.loads(content)
                section["value"] = value
                if kind == 1 and value.get("byte_order") == "big":
                    order = ">"
                if kind == 8:
                    expected = max(expected, value["next_event"])
            elif kind == 3:
                section["snapshot"], section["part"], flags = PART_HEADER.unpack_from(content)
                section["last"] = bool(flags & 1)
                for question, answer, path, value in records(content):
                    lines.append({"question": QUESTIONS.get(question, question),
                                  "answer": ANSWERS.get(answer, answer),
                                  "path": path.decode("utf-8", "backslashreplace"),
                                  "length": len(value), "crc": zlib.crc32(value)})
                    if args.extract:
                        extract(args.extract, question, answer, path, value)
            elif kind == 4:
                first, found = events(content)
                section["first"], section["count"] = first, len(found)
                state["events"] += len(found)
                state["missing_events"] += max(0, first - expected)
                expected = first + len(found)
                lines = [event_line(number, event, order) for number, event in found]
            elif kind == 7:
                whole = (len(content) - 8) // INDEX_ENTRY.size * INDEX_ENTRY.size
                section["entries"] = [
                    {"kind": entry[0], "offset": entry[2], "event": entry[3]}
                    for entry in INDEX_ENTRY.iter_unpack(content[:whole])]
            else:
                state["unknown_sections"] += 1
        except (Damaged, ValueError, KeyError, struct.error) as error:
            state["damaged"].append({"offset": offset, "kind": KINDS.get(kind), "why": str(error)})
            continue
        show(section)
        if args.lines:
            for line in lines:
                show(line)
    show(state)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()
