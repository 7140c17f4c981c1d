-- name: archive.ADD
-- takes: study_uid, state, submission_id, entry_uuid, record, record_sha256, changed_at
-- with: {}
INSERT INTO archive (study_uid, state, submission_id, entry_uuid, record, record_sha256, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: archive.DROP_PARTS
-- takes: which
-- with: {}
DELETE FROM frozen WHERE frozen.submission_id = ?;

-- name: archive.HELD
-- takes: study
-- with: {}
SELECT archive.submission_id
FROM archive
WHERE archive.study_uid = ?;

-- name: archive.MARK
-- takes: state, record, record_sha256, changed_at, study
-- with: {}
UPDATE archive SET state=?, record=?, record_sha256=?, changed_at=? WHERE archive.study_uid = ?;

-- name: archive.OWNER_PURGED
-- takes: which, purged_1
-- with: {"purged_1": 1}
SELECT submission.id
FROM submission LEFT OUTER JOIN entry ON entry.number = submission.number
WHERE submission.id = ? AND (submission.number IS NULL OR entry.purged = ?);

-- name: archive.PUBLISHED_AT
-- takes: unique_id, state_1
-- with: {"state_1": "published"}
SELECT archive.changed_at
FROM archive JOIN submission ON submission.id = archive.submission_id
WHERE submission.document_unique_id = ? AND archive.state = ?;

-- name: archive.READ
-- takes: study
-- with: {}
SELECT archive.state, archive.record, archive.record_sha256, archive.changed_at, archive.entry_uuid, archive.submission_id, submission.document_unique_id, submission.set_unique_id, submission.structure, submission.kos_sha256, submission.metadata_sha256, submission.signature_sha256, submission.vihf_sha256, frozen.kos, frozen.metadata, frozen.signature, frozen.vihf
FROM archive LEFT OUTER JOIN submission ON submission.id = archive.submission_id LEFT OUTER JOIN frozen ON frozen.submission_id = archive.submission_id
WHERE archive.study_uid = ?;

-- name: archive.REMEMBER
-- takes: record, record_sha256, changed_at, study
-- with: {}
UPDATE archive SET record=?, record_sha256=?, changed_at=? WHERE archive.study_uid = ?;

-- name: archive.REPLACE
-- takes: state, submission_id, entry_uuid, record, record_sha256, changed_at, study
-- with: {}
UPDATE archive SET state=?, submission_id=?, entry_uuid=?, record=?, record_sha256=?, changed_at=? WHERE archive.study_uid = ?;

-- name: archive.STUDIES
-- takes: beyond, state_1, most, param_1
-- with: {"state_1": "published", "param_1": 0}
SELECT archive.study_uid
FROM archive
WHERE archive.study_uid > ? AND archive.state = ? ORDER BY archive.study_uid
 LIMIT ? OFFSET ?;

-- name: frozen.ADD
-- takes: number, transaction_name, set_unique_id, document_unique_id, replaces_unique_id, structure, frozen_at, kos_sha256, metadata_sha256, signature_sha256, vihf_sha256, record_sha256
-- with: {}
INSERT INTO submission (number, transaction_name, set_unique_id, document_unique_id, replaces_unique_id, structure, frozen_at, kos_sha256, metadata_sha256, signature_sha256, vihf_sha256, record_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id;

-- name: frozen.ADD_PARTS
-- takes: submission_id, kos, metadata, signature, vihf, record
-- with: {}
INSERT INTO frozen (submission_id, kos, metadata, signature, vihf, record) VALUES (?, ?, ?, ?, ?, ?);

-- name: frozen.READ
-- takes: which
-- with: {}
SELECT submission.transaction_name, submission.set_unique_id, submission.document_unique_id, submission.replaces_unique_id, submission.structure, submission.kos_sha256, submission.metadata_sha256, submission.signature_sha256, submission.vihf_sha256, submission.record_sha256, frozen.kos, frozen.metadata, frozen.signature, frozen.vihf, frozen.record
FROM submission JOIN frozen ON frozen.submission_id = submission.id
WHERE submission.id = ?;

-- name: listing.ACTS
-- takes: which
-- with: {}
SELECT act.act, act."by", act.why, act.at
FROM act
WHERE act.number = ? ORDER BY act.id;

-- name: listing.ALL
-- takes: below, most, param_1
-- with: {"param_1": 0}
SELECT entry.number, received.kind, entry.action, entry.state, entry.reason, entry.hint, entry.tries, entry.parked, received."conflict", received.sender, entry.received_at, entry.changed_at, entry.due_at
FROM entry JOIN received ON received.id = entry.received_id
WHERE entry.number < ? ORDER BY entry.number DESC
 LIMIT ? OFFSET ?;

-- name: listing.CONFLICTS
-- takes: 
-- with: {}
SELECT count(received.id) AS count_1
FROM received
WHERE received."conflict" = 1;

-- name: listing.IN_OPEN_STATE
-- takes: below, state, most, param_1
-- with: {"param_1": 0}
SELECT entry.number, received.kind, entry.action, entry.state, entry.reason, entry.hint, entry.tries, entry.parked, received."conflict", received.sender, entry.received_at, entry.changed_at, entry.due_at
FROM entry JOIN received ON received.id = entry.received_id
WHERE entry.number < ? AND entry.state = ? AND entry.settled_at IS NULL ORDER BY entry.number DESC
 LIMIT ? OFFSET ?;

-- name: listing.IN_STATE
-- takes: below, state, most, param_1
-- with: {"param_1": 0}
SELECT entry.number, received.kind, entry.action, entry.state, entry.reason, entry.hint, entry.tries, entry.parked, received."conflict", received.sender, entry.received_at, entry.changed_at, entry.due_at
FROM entry JOIN received ON received.id = entry.received_id
WHERE entry.number < ? AND entry.state = ? ORDER BY entry.number DESC
 LIMIT ? OFFSET ?;

-- name: listing.OPEN
-- takes: 
-- with: {}
SELECT entry.state, entry.reason, count(*) AS count_1, min(entry.received_at) AS min_1, sum(entry.parked) AS sum_1
FROM entry
WHERE entry.settled_at IS NULL GROUP BY entry.state, entry.reason;

-- name: listing.OPEN_STUDIES
-- takes: 
-- with: {}
SELECT DISTINCT entry.study_uid
FROM entry
WHERE entry.settled_at IS NULL;

-- name: listing.PROOF
-- takes: which
-- with: {}
SELECT proof.outcome, proof.how, proof.settled_at, proof.content_sha256, proof.set_unique_id, proof.document_unique_id, proof.kos_sha256, proof.metadata_sha256, proof.status, proof.message_id, proof.entry_uuid, proof.warnings, proof.tries
FROM proof
WHERE proof.number = ?;

-- name: listing.SHOWN
-- takes: which
-- with: {}
SELECT entry.number, received.kind, entry.action, entry.state, entry.reason, entry.hint, entry.tries, entry.parked, received."conflict", received.sender, entry.received_at, entry.changed_at, entry.due_at, entry.detail, received.sha256, received.peer
FROM entry JOIN received ON received.id = entry.received_id
WHERE entry.number = ?;

-- name: listing.STUDIES_OF
-- takes: report
-- with: {}
SELECT DISTINCT entry.study_uid
FROM entry
WHERE entry.report = ?;

-- name: listing.TODAY
-- takes: purged_1, purged_2, midnight, state_1
-- with: {"purged_1": 0, "purged_2": 1, "state_1": "settled"}
SELECT count(*) AS count_1, count(entry.submission_id) AS count_2
FROM entry
WHERE (entry.purged = ? OR entry.purged = ?) AND entry.settled_at >= ? AND entry.state = ?;

-- name: marks.ADD
-- takes: name, value
-- with: {}
INSERT INTO mark (name, value) VALUES (?, ?);

-- name: marks.READ
-- takes: which
-- with: {}
SELECT mark.value
FROM mark
WHERE mark.name = ?;

-- name: marks.SET
-- takes: value, which
-- with: {}
UPDATE mark SET value=? WHERE mark.name = ? RETURNING name;

-- name: moves.ADD_PROOF
-- takes: number, outcome, how, received_at, settled_at, content_sha256, set_unique_id, document_unique_id, kos_sha256, metadata_sha256, status, message_id, entry_uuid, warnings, tries
-- with: {}
INSERT INTO proof (number, outcome, how, received_at, settled_at, content_sha256, set_unique_id, document_unique_id, kos_sha256, metadata_sha256, status, message_id, entry_uuid, warnings, tries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: moves.CONTENT
-- takes: which
-- with: {}
SELECT received.kind, received.received_at, received.sha256, content.bytes, entry.seal, entry.tries
FROM entry JOIN received ON received.id = entry.received_id LEFT OUTER JOIN content ON content.received_id = received.id
WHERE entry.number = ?;

-- name: moves.DUE
-- takes: of_rank, now, but, nor, most, param_1
-- with: {"param_1": 0}
SELECT entry.number, entry.turn, entry.state, entry.action, entry.study_uid, entry.submission_id, entry.resume, entry.tries, entry.crashes, entry.checks, entry.absences, entry.failures, entry.repeats, entry.waited_ms, entry.parked, entry.reason, entry.detail, entry.hint
FROM entry
WHERE entry.rank = ? AND entry.due_at <= ? AND entry.state != ? AND entry.state != ? AND NOT (EXISTS (SELECT earlier.number
FROM entry AS earlier
WHERE earlier.lane = entry.lane AND earlier.number < entry.number)) ORDER BY entry.due_at, entry.number
 LIMIT ? OFFSET ?;

-- name: moves.EXPORT
-- takes: which
-- with: {}
SELECT received.sha256, content.bytes, entry.submission_id
FROM entry JOIN received ON received.id = entry.received_id LEFT OUTER JOIN content ON content.received_id = received.id
WHERE entry.number = ?;

-- name: moves.FIRST_DUE
-- takes: of_rank, param_1, param_2
-- with: {"param_1": 1, "param_2": 0}
SELECT entry.due_at
FROM entry
WHERE entry.rank = ? AND entry.due_at IS NOT NULL ORDER BY entry.due_at
 LIMIT ? OFFSET ?;

-- name: moves.MOVE
-- takes: state, resume, lane, due_at, rank, box, lease_until, submission_id, tries, crashes, checks, absences, failures, repeats, waited_ms, parked, reason, detail, hint, changed_at, settled_at, which, at_turn, from_state
-- with: {}
UPDATE entry SET state=?, resume=?, lane=?, due_at=?, rank=?, box=?, lease_until=?, submission_id=?, tries=?, crashes=?, checks=?, absences=?, failures=?, repeats=?, waited_ms=?, parked=?, reason=?, detail=?, hint=?, changed_at=?, settled_at=? WHERE entry.number = ? AND entry.turn = ? AND entry.state = ? RETURNING number;

-- name: moves.MOVE_IN_WORK
-- takes: state, resume, lane, due_at, rank, submission_id, tries, crashes, checks, absences, failures, repeats, waited_ms, parked, reason, detail, hint, changed_at, settled_at, which, at_turn, from_state
-- with: {}
UPDATE entry SET state=?, resume=?, lane=?, due_at=?, rank=?, submission_id=?, tries=?, crashes=?, checks=?, absences=?, failures=?, repeats=?, waited_ms=?, parked=?, reason=?, detail=?, hint=?, changed_at=?, settled_at=? WHERE entry.number = ? AND entry.turn = ? AND entry.state = ? RETURNING number;

-- name: moves.PROVEN
-- takes: submission, which
-- with: {}
SELECT entry.received_at, received.sha256, submission.set_unique_id, submission.document_unique_id, submission.kos_sha256, submission.metadata_sha256, submission.transaction_name
FROM entry JOIN received ON received.id = entry.received_id LEFT OUTER JOIN submission ON submission.id = ?
WHERE entry.number = ?;

-- name: moves.RENEW
-- takes: lease_until, which, at_turn
-- with: {}
UPDATE entry SET lease_until=? WHERE entry.number = ? AND entry.turn = ? AND entry.lease_until IS NOT NULL;

-- name: moves.TAKE
-- takes: state, due_at, turn_1, box, lease_until, tries, crashes, checks, absences, changed_at, which, at_turn
-- with: {"turn_1": 1}
UPDATE entry SET state=?, due_at=?, turn=(entry.turn + ?), box=?, lease_until=?, tries=?, crashes=?, checks=?, absences=?, changed_at=? WHERE entry.number = ? AND entry.turn = ? RETURNING turn;

-- name: persons.ADD_ACT
-- takes: number, act, by, why, at
-- with: {}
INSERT INTO act (number, act, "by", why, at) VALUES (?, ?, ?, ?, ?);

-- name: persons.HELD_FOR
-- takes: state_1, reason, detail
-- with: {"state_1": "held"}
SELECT entry.number
FROM entry
WHERE entry.state = ? AND entry.settled_at IS NULL AND entry.reason = ? AND entry.detail = ? ORDER BY entry.number;

-- name: persons.LATER
-- takes: study, which
-- with: {}
SELECT entry.number, entry.state, entry.resume, entry.action, proof.outcome
FROM entry LEFT OUTER JOIN proof ON proof.number = entry.number
WHERE entry.study_uid = ? AND entry.number > ? ORDER BY entry.number;

-- name: persons.LET_GO
-- takes: state_1, state_2, state_3, state_4, action_1
-- with: {"state_1": "held", "state_2": "in_doubt", "state_3": "ready", "state_4": "waiting", "action_1": ""}
SELECT entry.number
FROM entry
WHERE (entry.state = ? OR entry.state = ? OR entry.state = ? OR entry.state = ?) AND entry.settled_at IS NULL AND entry.action != ? ORDER BY entry.number;

-- name: persons.NOW_DUE
-- takes: due_at, which
-- with: {}
UPDATE entry SET due_at=? WHERE entry.number = ? AND entry.due_at IS NOT NULL;

-- name: persons.ONE_OF_EACH
-- takes: state_1
-- with: {"state_1": "held"}
SELECT DISTINCT entry.reason, entry.detail
FROM entry
WHERE entry.state = ? AND entry.settled_at IS NULL;

-- name: persons.READ
-- takes: which
-- with: {}
SELECT entry.number, entry.turn, entry.state, entry.action, entry.study_uid, entry.submission_id, entry.resume, entry.tries, entry.crashes, entry.checks, entry.absences, entry.failures, entry.repeats, entry.waited_ms, entry.parked, entry.reason, entry.detail, entry.hint
FROM entry
WHERE entry.number = ?;

-- name: purge.DROP_ACTS
-- takes: which
-- with: {}
DELETE FROM act WHERE act.number = ?;

-- name: purge.DROP_CONTENT
-- takes: which
-- with: {}
DELETE FROM content WHERE content.received_id = ?;

-- name: purge.DROP_ENTRY
-- takes: which
-- with: {}
DELETE FROM entry WHERE entry.number = ?;

-- name: purge.DROP_FROZEN
-- takes: which, study
-- with: {}
DELETE FROM frozen WHERE frozen.submission_id IN (SELECT submission.id
FROM submission
WHERE submission.number = ?) AND NOT (EXISTS (SELECT archive.submission_id
FROM archive
WHERE archive.study_uid = ? AND archive.submission_id = frozen.submission_id));

-- name: purge.DROP_PROOF
-- takes: which
-- with: {}
DELETE FROM proof WHERE proof.number = ?;

-- name: purge.DROP_RECEIVED
-- takes: which
-- with: {}
DELETE FROM received WHERE received.id = ?;

-- name: purge.DROP_SUBMISSION
-- takes: which
-- with: {}
DELETE FROM submission WHERE submission.number = ? AND NOT (EXISTS (SELECT frozen.submission_id
FROM frozen
WHERE frozen.submission_id = submission.id));

-- name: purge.EXPIRED
-- takes: purged_1, before, most, param_1
-- with: {"purged_1": 0, "param_1": 0}
SELECT entry.number, entry.received_id, entry.study_uid
FROM entry
WHERE entry.purged = ? AND entry.settled_at < ? AND entry.settled_at IS NOT NULL ORDER BY entry.settled_at
 LIMIT ? OFFSET ?;

-- name: purge.MARK
-- takes: purged, which
-- with: {"purged": 1}
UPDATE entry SET purged=? WHERE entry.number = ?;

-- name: purge.OLD
-- takes: purged_1, before, most, param_1
-- with: {"purged_1": 1, "param_1": 0}
SELECT entry.number, entry.received_id, entry.study_uid
FROM entry
WHERE entry.purged = ? AND entry.settled_at < ? AND entry.settled_at IS NOT NULL ORDER BY entry.settled_at
 LIMIT ? OFFSET ?;

-- name: purge.ORPHAN
-- takes: number, which
-- with: {}
UPDATE submission SET number=? WHERE submission.number = ?;

-- name: purge.SIBLING
-- takes: which
-- with: {}
SELECT entry.number
FROM entry
WHERE entry.received_id = ?;

-- name: purge.SIBLING_OPEN
-- takes: which, before
-- with: {}
SELECT entry.number
FROM entry
WHERE entry.received_id = ? AND (entry.settled_at IS NULL OR entry.settled_at >= ?);

-- name: recovery.LEFT
-- takes: state_1, state_2, state_3, box, now
-- with: {"state_1": "building", "state_2": "checking", "state_3": "started"}
SELECT entry.number, entry.turn, entry.state, entry.action, entry.study_uid, entry.submission_id, entry.resume, entry.tries, entry.crashes, entry.checks, entry.absences, entry.failures, entry.repeats, entry.waited_ms, entry.parked, entry.reason, entry.detail, entry.hint, entry.box
FROM entry
WHERE (entry.state = ? OR entry.state = ? OR entry.state = ?) AND entry.settled_at IS NULL AND (entry.box = ? OR entry.lease_until < ?) ORDER BY entry.number;

-- name: recovery.ONE
-- takes: which, at_turn, state_1, state_2, state_3
-- with: {"state_1": "building", "state_2": "checking", "state_3": "started"}
SELECT entry.number, entry.turn, entry.state, entry.action, entry.study_uid, entry.submission_id, entry.resume, entry.tries, entry.crashes, entry.checks, entry.absences, entry.failures, entry.repeats, entry.waited_ms, entry.parked, entry.reason, entry.detail, entry.hint
FROM entry
WHERE entry.number = ? AND entry.turn = ? AND (entry.state = ? OR entry.state = ? OR entry.state = ?);

-- name: recovery.REBASE
-- takes: latest, rank_1, rank_2, rank_3, latest
-- with: {"rank_1": 0, "rank_2": 1, "rank_3": 2}
UPDATE entry SET due_at=? WHERE (entry.rank = ? OR entry.rank = ? OR entry.rank = ?) AND entry.due_at > ? RETURNING number;

-- name: taking_in.ADD_CONTENT
-- takes: received_id, bytes
-- with: {}
INSERT INTO content (received_id, bytes) VALUES (?, ?);

-- name: taking_in.ADD_ENTRY
-- takes: received_id, action, study_uid, report, seal, state, lane, due_at, reason, received_at, changed_at, settled_at
-- with: {}
INSERT INTO entry (received_id, action, study_uid, report, seal, state, lane, due_at, reason, received_at, changed_at, settled_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number;

-- name: taking_in.ADD_PROOF
-- takes: number, outcome, received_at, settled_at, content_sha256
-- with: {}
INSERT INTO proof (number, outcome, received_at, settled_at, content_sha256) VALUES (?, ?, ?, ?, ?);

-- name: taking_in.ADD_RECEIVED
-- takes: kind, sender, peer, control_id, sha256, received_at, conflict
-- with: {}
INSERT INTO received (kind, sender, peer, control_id, sha256, received_at, "conflict") VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id;

-- name: taking_in.DROP_CONTENT
-- takes: which
-- with: {}
DELETE FROM content WHERE content.received_id = ?;

-- name: taking_in.LOST
-- takes: sender, control_id, digest, state_1, reason_1, param_1, param_2
-- with: {"state_1": "set_aside", "reason_1": "damaged", "param_1": 1, "param_2": 0}
SELECT received.id
FROM received JOIN entry ON entry.received_id = received.id
WHERE received.sender = ? AND received.control_id = ? AND received.sha256 = ? AND entry.state = ? AND entry.reason = ?
 LIMIT ? OFFSET ?;

-- name: taking_in.NAMESAKE
-- takes: sender, control_id, param_1, param_2
-- with: {"param_1": 1, "param_2": 0}
SELECT received.id
FROM received
WHERE received.sender = ? AND received.control_id = ?
 LIMIT ? OFFSET ?;

-- name: taking_in.SAME
-- takes: sender, control_id, digest, param_1, param_2
-- with: {"param_1": 1, "param_2": 0}
SELECT entry.number, received."conflict"
FROM received JOIN entry ON entry.received_id = received.id
WHERE received.sender = ? AND received.control_id = ? AND received.sha256 = ? ORDER BY entry.number
 LIMIT ? OFFSET ?;
