"""The node: a PACS sends a study, gets its segmentation back, and nothing is lost between.

::

      PACS, CT                                                             PACS, archive
         | C-STORE                                                             ^ C-STORE, STOW-RS
         v                                                                     |
      guarded        strangers, silence, lengths that lie                   sending
         |                                                                     ^
      receiver       who may send; file -> incoming/<node>/                 sender  (one for each
         |                                                                     ^     destination)
      receiving      fsync, rename -> receiving/<study>/, fsync, 0x0000        |
         |                                                                     |
         | quiet, or released                                                  |
         v                                                                     |
      waiting/<study>.<n> --> worker --> working/<study>.<n>@<node> --> sending/<study>.<n>@<node>
                                |  ^          |                                |
                  a process of  v  |          v after so many tries            v all have it
                  its own:  segmenting     failed/<study>.<n>            done/<study>.<n>

``spool`` and ``durable`` make the moves, ``nodes`` says whose is what (several nodes may share a
spool), ``gathering`` and ``series`` bring slices that come late to the others, ``retention``
removes what is finished, ``watch`` and ``log`` tell of it, ``settings``, ``settings_sources`` and
``checks`` say what is wrong before anything starts. States are folders and every change of state is
one rename: killed at any moment, the next start goes on from there.
"""
