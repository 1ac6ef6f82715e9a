# SPDX-License-Identifier: BSD-2-Clause
"""The emulated machine: how QEMU is called, run to a verdict and read afterwards.

A scenario may say in its root node what machine it wants (see docs/scenario.md); what the caller asks for comes first:

    sluice,machine-cpus = <4>;  sluice,machine-memory-mib = <512>;  sluice,machine-cpu = "cortex-a72";  sluice,timeout-s = <60>;
    sluice,machine-nodes = <256 128 128>;

RAM that others may look into is a file; with several nodes each has one of its own, RAM, RAM.1, RAM.2: see ram_files().
"""

import ctypes
import os
import re
import signal
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
QEMU = "qemu-system-aarch64"

# Exit status of a run, for people and for make.
PASS, FAIL, TIMEOUT, NO_VERDICT = 0, 1, 2, 3
STATUS_WORDS = {PASS: "PASS", FAIL: "FAIL", TIMEOUT: "TIMEOUT", NO_VERDICT: "NO VERDICT"}
VERDICT = re.compile(r"^sluice: verdict: (PASS|FAIL)(?: \((.*)\))?", re.MULTILINE)

TRACE_MAGIC = b"SLCTRACE"
PAGE = 4096
NODES_MAX = 8  # include/mm/page_alloc.h


class MachineError(Exception):
    """Something the user can put right; one line."""


def build_dir():
    return ROOT / os.environ.get("BUILD", "build")


def scenarios():
    return sorted(p.stem for p in (ROOT / "dts").glob("*.dts"))


def scenario_blob(name):
    """The compiled scenario of that name, or a MachineError that lists what there is."""
    if name not in scenarios():
        raise MachineError(f"no scenario '{name}': there are {', '.join(scenarios()) or 'none yet'}")
    blob = build_dir() / f"dts/{name}.dtb"
    if not blob.exists():
        raise MachineError(f"{blob.relative_to(ROOT)} is not built: run make")
    return blob


def blob_property(blob, name, kind="u", node="/"):
    """A property of a node of the scenario, of its root if none is named; or None (also when the blob is broken)."""
    done = subprocess.run(["fdtget", "-t", kind, str(blob), node, name], capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


def memory_mib(text):
    """512, 512M or 2G -> MiB."""
    match = re.fullmatch(r"(\d+)([MG]?)(?:i?B)?", str(text).strip(), re.IGNORECASE)
    if not match:
        raise MachineError(f"memory size '{text}': say 512M or 2G")
    return int(match[1]) * (1024 if match[2].upper() == "G" else 1)


def split_memory(mib, count):
    """MiB of `count` nodes of equal size, each a multiple of 2 MiB."""
    if count > NODES_MAX or mib % (2 * count):
        raise MachineError(f"{mib} MiB do not make {count} nodes: say 1..{NODES_MAX} that each get the same even number of MiB")
    return [mib // count] * count


def nodes_for(blob, wanted, memory):
    """What the caller says (a number, RAM in MiB or None), then the scenario. A list of MiB; None: the scenario has no wish either."""
    own = [int(mib) for mib in (blob_property(blob, "sluice,machine-nodes") or "").split()]
    if wanted is None and not memory:
        return own or None
    count = wanted or len(own)
    memory = memory or int(blob_property(blob, "sluice,machine-memory-mib") or sum(own) or Machine.memory)
    return split_memory(memory, count) if count else None


def ram_files(ram):
    """The files behind a machine's RAM that exist, node 0's first."""
    ram = Path(ram)
    return [path for path in [ram] + [ram.with_name(f"{ram.name}.{n}") for n in range(1, NODES_MAX)] if path.exists()]


def drop_ram(ram):
    for path in ram_files(ram):
        path.unlink()


@dataclass
class Machine:
    """One QEMU command line. `blob` is the scenario; None gives the hypervisor none at all."""

    blob: Path = None
    cpus: int = 1
    memory: int = 1024
    cpu: str = "max"
    timeout: float = 120
    icount: bool = False
    board: str = "virtualization=on,gic-version=3"
    ram_file: Path = None
    nodes: list = field(default_factory=list)
    image: Path = None
    extra: list = field(default_factory=list)

    @classmethod
    def for_scenario(cls, blob, cpus=None, memory=None, cpu=None, timeout=None, nodes=None, **rest):
        """What the caller asks for, else what the scenario asks for, else the default."""
        nodes = nodes_for(blob, nodes, memory and memory_mib(memory))
        asked = {
            "cpus": cpus or blob_property(blob, "sluice,machine-cpus"),
            "memory": sum(nodes) if nodes else memory_mib(memory) if memory else blob_property(blob, "sluice,machine-memory-mib"),
            "cpu": cpu or blob_property(blob, "sluice,machine-cpu", "s"),
            "timeout": timeout or blob_property(blob, "sluice,timeout-s"),
            "nodes": nodes,
        }
        kinds = {"cpus": int, "memory": int, "cpu": str, "timeout": float, "nodes": list}
        return cls(blob=blob, **{k: kinds[k](v) for k, v in asked.items() if v}, **rest)

    @staticmethod
    def backend(name, path, mib):
        return f"memory-backend-file,id={name},share=on,mem-path={path},size={mib}M" if path else f"memory-backend-ram,id={name},size={mib}M"

    def node_args(self):
        """Memory, CPUs and distances of each node, as docs/scenario.md says of sluice,machine-nodes."""
        args, count = [], len(self.nodes)
        for n, mib in enumerate(self.nodes):
            path = self.ram_file and (f"{self.ram_file}.{n}" if n else self.ram_file)
            cpus = "".join(f",cpus={c}" for c in range(self.cpus) if c * count // self.cpus == n)
            args += ["-object", self.backend(f"ram{n}", path, mib), "-numa", f"node,nodeid={n},memdev=ram{n}{cpus}"]
        for a, b in ((a, b) for a in range(count) for b in range(count) if a != b):
            args += ["-numa", f"dist,src={a},dst={b},val={10 + 10 * abs(a - b)}"]
        return args

    def command(self):
        board = f"virt,{self.board},dtb-randomness=off"
        args = self.node_args() if self.nodes else []
        if self.ram_file and not self.nodes:
            board += ",memory-backend=ram"
            args += ["-object", self.backend("ram", self.ram_file, self.memory)]
        args = [QEMU, "-M", board, "-cpu", self.cpu, "-smp", str(self.cpus), "-m", f"{self.memory}M", "-nodefaults",
                "-display", "none", "-no-reboot", "-kernel", str(self.image or build_dir() / "hyp/sluice.img")] + args
        if self.blob:
            args += ["-initrd", str(self.blob)]
        if self.icount:
            args += ["-icount", "shift=0,sleep=off"]
        return args + self.extra


@dataclass
class Outcome:
    """How a headless run ended."""

    status: int
    reason: str
    console: str
    seconds: float

    def __str__(self):
        return STATUS_WORDS[self.status] + (f" ({self.reason})" if self.reason else "")


def die_with_parent():
    """In the child: no QEMU outlives the one who watches over it (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def stop(process):
    """Ask, then force: QEMU's main loop may never hear a polite request when a guest floods it. Returns what it said."""
    process.terminate()
    try:
        return process.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


running = set()  # every QEMU that run_headless() waits for, in whatever thread
stopping = threading.Event()


def stop_all():
    """End them, and start no other: for the one who was told to stop. What waits for them sees MachineError."""
    stopping.set()
    for process in list(running):
        process.kill()


def last_lines(text, count=15):
    return "\n".join("  | " + line for line in text.splitlines()[-count:])


def outcome_of(console, timed_out, seconds, timeout):
    verdicts = VERDICT.findall(console)
    if verdicts:
        word, reason = verdicts[-1]
        return Outcome(PASS if word == "PASS" else FAIL, reason, console, seconds)
    if timed_out:
        return Outcome(TIMEOUT, f"no verdict after {timeout:g} s", console, seconds)
    return Outcome(NO_VERDICT, "the machine stopped without one", console, seconds)


class HeldInterrupts:
    """Ctrl-C while a process is being started is heard on release(), when there is somebody who can end it."""

    def __init__(self):
        self.came = False
        self.holds = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.holds:
            signal.signal(signal.SIGINT, self.note)

    def note(self, *_):
        self.came = True

    def release(self):
        if self.holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.came:
            raise KeyboardInterrupt


def start(command):
    """QEMU, in a session of its own (Ctrl-C is for the one who watches over it), as one of `running`."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               preexec_fn=die_with_parent, start_new_session=True)
    running.add(process)
    return process


def run_headless(machine, console_path, beside=None):
    """Run until the machine switches itself off or its time is over; the console goes to a file. `beside` is called with QEMU's process when it has started."""
    console_path = Path(console_path)
    console_path.parent.mkdir(parents=True, exist_ok=True)
    console_path.write_bytes(b"")
    if machine.ram_file:
        drop_ram(machine.ram_file)
    command = machine.command() + ["-monitor", "none", "-serial", f"file:{console_path}"]
    started, timed_out, held = time.monotonic(), False, HeldInterrupts()
    try:
        process = start(command)
    except BaseException:
        held.release()
        raise
    try:
        held.release()
        if stopping.is_set():
            process.kill()
        if beside:
            beside(process)
        said, _ = process.communicate(timeout=machine.timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        said = stop(process)
    except BaseException:
        process.kill()
        process.wait()
        drop_ram(machine.ram_file) if machine.ram_file else None
        raise
    finally:
        running.discard(process)
    if stopping.is_set():
        drop_ram(machine.ram_file) if machine.ram_file else None
        raise MachineError("interrupted")
    if process.returncode and not timed_out:
        raise MachineError(f"QEMU failed: {said.strip()}")
    console = console_path.read_text(errors="replace").replace("\r", "")
    return outcome_of(console, timed_out, time.monotonic() - started, machine.timeout)


def extract_trace(ram_path, to):
    """Copy the trace area (include/abi/trace.h) out of the files behind the machine's RAM. False if there is none."""
    return any(extract_trace_from(path, to) for path in ram_files(ram_path))


def extract_trace_from(path, to):
    with open(path, "rb") as ram:
        end, at = os.fstat(ram.fileno()).st_size, 0
        while at < end:
            try:
                start = os.lseek(ram.fileno(), at, os.SEEK_DATA) & ~(PAGE - 1)
            except OSError:
                return False
            at = os.lseek(ram.fileno(), start, os.SEEK_HOLE)
            for page in range(start, at, PAGE):
                if os.pread(ram.fileno(), 8, page) == TRACE_MAGIC and copy_area(ram, page, to):
                    return True
    return False


def copy_area(ram, page, to):
    head = os.pread(ram.fileno(), 32 + 8, page)
    _, version, record_bytes, rings, per_ring, ring_bytes = struct.unpack("<QIIIIQ", head[:32])
    if not (version and record_bytes == 64 and 0 < rings <= 64 and ring_bytes == per_ring * record_bytes):
        return False
    left = PAGE + rings * ring_bytes
    with open(to, "wb") as out:
        os.lseek(ram.fileno(), page, os.SEEK_SET)
        while left > 0:
            chunk = os.read(ram.fileno(), min(left, 1 << 20))
            if not chunk:
                return False
            out.write(chunk)
            left -= len(chunk)
    return True
