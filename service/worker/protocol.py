"""What the server and its worker processes tell each other: options, exit statuses, and the first words of lines."""

UNUSABLE_CHECKPOINT, REPLACED = 3, 4  # exit status; replaced: another checkpoint was put into service
READY, UNUSABLE = "ready", "unusable"  # first word of a line for the supervisor on standard output
COMPUTES = "computes"  # the same: then backend, device, and what there is to say about them
WATCHED = "--watched"  # stop when standard input closes, because then the server has ended
REQUESTS = "--requests"  # with a file descriptor: the connection over which the server asks for analyses
TRY = "--try"  # with a path: only report whether this checkpoint can be loaded
