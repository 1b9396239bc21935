"""SQL views for people: rows of the tables, taken apart as far as SQL can soundly do so.

What a key says, and the first columns of a row that are texts, numbers or yes and no. What a
message says is in the codec of its type, and stays with the runtime.
"""

__all__ = ["NODE_VIEWS", "VIEWS"]

# A row is a checksum of four bytes and an array in MessagePack; see docs/store-format.md. Values
# that are none of the above come as null, and what is behind an array or a map is not looked at.
_UNPACK = """
CREATE FUNCTION unpack(value bytea, wanted integer) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    found text[] := '{}';
    place integer := 4;
    kind integer := get_byte(value, 4);
    size integer;
    count integer;
    big numeric;
BEGIN
    IF kind BETWEEN 144 AND 159 THEN
        count := kind - 144;
        place := 5;
    ELSIF kind = 220 THEN
        count := get_byte(value, 5) * 256 + get_byte(value, 6);
        place := 7;
    ELSE
        RETURN found;
    END IF;
    FOR number IN 1 .. least(count, wanted) LOOP
        kind := get_byte(value, place);
        place := place + 1;
        IF kind <= 127 THEN
            found := found || kind::text;
        ELSIF kind BETWEEN 160 AND 191 OR kind BETWEEN 217 AND 219 OR kind BETWEEN 196 AND 198 THEN
            IF kind BETWEEN 160 AND 191 THEN
                size := kind - 160;
            ELSE
                size := 0;
                FOR one IN 1 .. CASE WHEN kind IN (217, 196) THEN 1 WHEN kind IN (218, 197) THEN 2
                                ELSE 4 END LOOP
                    size := size * 256 + get_byte(value, place);
                    place := place + 1;
                END LOOP;
            END IF;
            found := found || CASE WHEN kind BETWEEN 196 AND 198 THEN NULL
                ELSE convert_from(substring(value FROM place + 1 FOR size), 'UTF8') END;
            place := place + size;
        ELSIF kind BETWEEN 204 AND 207 OR kind BETWEEN 208 AND 211 THEN
            big := 0;
            size := 1 << ((kind - 204) % 4);
            FOR one IN 1 .. size LOOP
                big := big * 256 + get_byte(value, place);
                place := place + 1;
            END LOOP;
            IF kind >= 208 AND big >= 2::numeric ^ (8 * size - 1) THEN
                big := big - 2::numeric ^ (8 * size);
            END IF;
            found := found || trunc(big)::text;
        ELSIF kind = 192 THEN
            found := found || NULL::text;
        ELSIF kind IN (194, 195) THEN
            found := found || (kind = 195)::text;
        ELSIF kind >= 224 THEN
            found := found || (kind - 256)::text;
        ELSE
            EXIT;
        END IF;
    END LOOP;
    RETURN found;
END
$$
"""

# Eight bytes, the highest first, from a place that is counted from 1.
_NUMBER = """
CREATE FUNCTION number_at(key bytea, place integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT ('x' || encode(substring(key FROM place FOR 8), 'hex'))::bit(64)::bigint $$
"""

# A row that is a number alone, and not an array.
_NUMBER_IN = """
CREATE FUNCTION number_in(value bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (unpack(overlay(value PLACING '\\x91'::bytea FROM 5 FOR 0), 1))[1]::bigint $$
"""

_MOMENT = """
CREATE FUNCTION moment(micros bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT timestamptz '1970-01-01 00:00:00+00' + micros * interval '1 microsecond' $$
"""

_EVENTS = """
CREATE VIEW procession_events AS
SELECT part, number_at(key, 1) AS position, said[1] AS type, said[2] AS stream,
    said[3]::bigint AS version, moment(said[4]::bigint) AS time,
    coalesce(said[6], said[2] || '@' || said[3]) AS event_id, said[7] AS correlation_id,
    said[8] AS causation_id
FROM log, unpack(value, 8) AS said
"""

# From the first transition of an instance to its newest.
_INSTANCES = """
CREATE VIEW procession_instances AS
SELECT begun.part, newest.said[1] AS process, newest.said[2] AS instance,
    newest.said[3]::bigint AS version,
    CASE WHEN newest.said[6]::boolean THEN 'complete'
        WHEN EXISTS (SELECT FROM waiting WHERE part = begun.part AND key = process || '\\x00'::bytea
            || instance || '\\x000000000000000000'::bytea) THEN 'suspended'
        ELSE 'running' END AS status,
    newest.said[5] AS handler, moment(newest.said[4]::bigint) AS time,
    newest.said[7] AS cause, newest.said[8] AS correlation_id
FROM (SELECT part, unpack(value, 2) AS said FROM transitions
        JOIN (SELECT part, substring(key FROM length(key) - 7) AS first FROM started) AS of_started
            USING (part) WHERE key = first) AS begun
    CROSS JOIN LATERAL (SELECT convert_to(begun.said[1], 'UTF8') AS process,
        convert_to(begun.said[2], 'UTF8') AS instance) AS named
    CROSS JOIN LATERAL (SELECT instance || '\\x00'::bytea || 'i' || '\\x00'::bytea || process
        || '\\x00'::bytea AS prefix) AS keyed
    CROSS JOIN LATERAL (SELECT substring(value FROM length(value) - 7) AS place FROM ids
        WHERE part = begun.part AND key > prefix AND key < prefix || '\\xffffffffffffffff'::bytea
        ORDER BY key DESC LIMIT 1) AS pointer
    CROSS JOIN LATERAL (SELECT unpack(value, 8) AS said FROM transitions
        WHERE part = begun.part AND key = pointer.place) AS newest
"""

_PARKED = """
CREATE VIEW procession_parked AS
SELECT part, number_at(key, 1) AS id, said[1] AS process, said[2] AS instance, said[3] AS cause,
    said[4] AS error_type, said[5] AS error_text, said[6]::integer AS attempts,
    moment(said[7]::bigint) AS time, said[8]::bigint AS position
FROM parked, unpack(value, 8) AS said
"""

_TIMEOUTS = """
CREATE VIEW procession_timeouts AS
SELECT part, moment(number_at(key, 1)) AS due, said[1] AS process, said[2] AS instance,
    said[3] AS name, said[4] AS kind
FROM timers, unpack(value, 4) AS said
"""

VIEWS = (_UNPACK, _NUMBER, _MOMENT, _EVENTS, _INSTANCES, _PARKED, _TIMEOUTS)
"""In the order in which they are made."""

_PARTITIONS = """
CREATE VIEW procession_partitions AS
SELECT owners.part, coalesce(nodes.name, owners.owner) AS owner, owners.epoch, owners.since,
    owners.leased_until, owners.wanted_by,
    (SELECT coalesce(sum(lane.newest - coalesce(number_in(taken.value), 0)), 0)::bigint FROM (
            SELECT number_at(key, 1) AS target, max(number_at(key, 9)) AS newest FROM outgoing
            WHERE outgoing.part = owners.part GROUP BY 1) AS lane
        LEFT JOIN cursors AS taken
            ON taken.part = lane.target AND taken.key = int8send(owners.part::bigint)) AS not_taken,
    (SELECT count(*) FROM queue WHERE queue.part = owners.part) AS queue_rows,
    (SELECT count(*) FROM calls WHERE calls.part = owners.part AND answer IS NULL) AS calls,
    (SELECT min(calls.since) FROM calls WHERE calls.part = owners.part AND answer IS NULL)
        AS oldest_call
FROM owners LEFT JOIN nodes ON nodes.id = owners.token
"""

_NODES = """
CREATE VIEW procession_nodes AS
SELECT nodes.name, nodes.since, nodes.alive_until >= clock_timestamp() AS is_alive,
    nodes.is_drained, nodes.waits_for,
    (SELECT count(*) FROM owners WHERE owners.token = nodes.id) AS partitions
FROM nodes
"""

NODE_VIEWS = (_NUMBER_IN, _PARTITIONS, _NODES)
"""Of nodes that share the partitions."""
