"""Loan applications at a bank, replayed from a real event log.

    python -m domain_examples.loan_application LOG --store FOLDER

publishes the log's events, runs one process for each application, and prints how they ended. The
program may be killed at any moment and started again on the same folder: the figures are the same.

The log it was written for is the BPI Challenge 2012: van Dongen, B. (2012), *BPI Challenge 2012*,
4TU.ResearchData, doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f.
"""
