-- What of one identity waits is counted before more is asked.
CREATE INDEX approval_waiting ON approval (requester, ends) WHERE phase = 'pending';
