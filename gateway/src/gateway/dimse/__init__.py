"""DIMSE: the C-STORE and C-ECHO SCP, a process of its own (PS3.4, annexes A and B; PS3.7; PS3.8)."""
