"""Exports: tables of reads for MRMC software, marked regions, and reports of single cases."""
