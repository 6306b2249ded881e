-- Votes.

CREATE FUNCTION hotswap.approve(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_approve';
COMMENT ON FUNCTION hotswap.approve(uuid, text, text, text) IS
'Votes for a deployment going to an environment (NULL: the next on its path), and returns the status of the approval.';
GRANT EXECUTE ON FUNCTION hotswap.approve TO PUBLIC;

CREATE FUNCTION hotswap.reject(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_reject';
COMMENT ON FUNCTION hotswap.reject(uuid, text, text, text) IS
'Votes against a deployment going to an environment (NULL: the next on its path), which ends it, and returns the status of the approval. Needs a comment.';
GRANT EXECUTE ON FUNCTION hotswap.reject TO PUBLIC;

CREATE FUNCTION hotswap.retract_vote(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retract_vote';
COMMENT ON FUNCTION hotswap.retract_vote(uuid, text, text, text) IS
'Takes the person''s vote back, and returns the status of the approval, which becomes void if it thereby loses its quorum before the stage has started.';
GRANT EXECUTE ON FUNCTION hotswap.retract_vote TO PUBLIC;
