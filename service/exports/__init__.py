"""Files for use elsewhere: tables of reads for MRMC software, and reports of single cases."""
