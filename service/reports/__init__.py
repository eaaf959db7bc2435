"""Files that leave the house: tables of reads for MRMC software, and reports of single cases."""
