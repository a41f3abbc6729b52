"""A run that is killed, again and again, and goes on."""

import contextlib
import random
import shutil
import signal
import subprocess
import time


def written_in(folder):
    """Bytes of the records of a run, those of files being replaced included: these may go between their listing and their turn."""
    size = 0
    for file in folder.glob("**/*.json*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def kill_often(command, folder, kills, seed, most_moves):
    """Starts `command`, a run in `folder` that resumes, and kills it when its records have moved up to `most_moves` times, and a moment
    later: by what the run has done, not by the clock alone, since a machine may at any time be several times slower than a moment ago. As
    often as asked; a run that comes to its end begins anew and counts for nothing. Leaves it killed."""
    moments, done = random.Random(seed), 0
    while done < kills:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            moves, size = moments.randrange(most_moves + 1), written_in(folder)
            while moves > 0 and process.poll() is None:
                if written_in(folder) != size:
                    moves, size = moves - 1, written_in(folder)
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.02))
        finally:
            process.kill()
            status = process.wait()
        if status == 0:
            shutil.rmtree(folder)
        elif status == -signal.SIGKILL:
            done += 1
        else:
            raise AssertionError(f"{command} ended with {status}")
