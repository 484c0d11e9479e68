"""One file per contest of scripts/benchmark.py. ADD A CONTEST HERE, and name it in scripts/benchmark.py."""
