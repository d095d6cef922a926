"""What the FLARE organisers do with an image: one case per container, timed and watched.

    python -m benchmarks.flare_harness --image abdobox:latest --gpus device=0 --cases DIR --out DIR

Each case is copied into an empty ``inputs`` folder, the challenge's ``docker container run`` is
timed from outside, and device memory (total minus free), the machine's CPU and RAM are read every
0.1 s. The results are judged for their geometry only; ``python -m evaluation`` scores them.
"""
