-- Views under the names people of this field know, and dim_wiki. Read by dashboards, the API, people.
-- Those of live numbers sum serving.<rollup>, so published hours are the batch layer's and the others live. "The last 24
-- hours" are the running UTC hour and the 23 before it: whole hours, so that a view agrees with the hourly numbers.

-- Wikis and where they belong.
CREATE VIEW serving.dim_wiki AS
SELECT
    w.wiki,
    w.server_name,
    w.project,
    w.language,
    w.language_name,
    w.territory,
    w.first_seen_at
FROM speed.wikis AS w;

CREATE VIEW serving.user_edit_counts AS
SELECT
    u.user_key,
    max(u.user_name) AS user_name,
    u.user_class,
    count(DISTINCT u.wiki) AS wikis,
    sum(u.edits)::bigint AS edits,
    sum(u.new_pages)::bigint AS new_pages,
    sum(u.bytes_added)::bigint AS bytes_added,
    sum(u.bytes_removed)::bigint AS bytes_removed,
    sum(u.reverts)::bigint AS reverts
FROM serving.user_activity AS u
WHERE u.window_start >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
    AND u.user_class <> 'hidden'
GROUP BY
    u.user_key,
    u.user_class;

CREATE VIEW serving.namespace_edit_counts AS
SELECT
    a.namespace,
    count(DISTINCT a.wiki) AS wikis,
    sum(a.edits)::bigint AS edits,
    sum(a.new_pages)::bigint AS new_pages,
    sum(a.bytes_added)::bigint AS bytes_added,
    sum(a.bytes_removed)::bigint AS bytes_removed
FROM serving.activity AS a
WHERE a.window_start >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
    AND a.edits > 0
GROUP BY a.namespace;

CREATE VIEW serving.event_type_counts AS
SELECT
    a.type,
    count(DISTINCT a.wiki) AS wikis,
    sum(a.events)::bigint AS events
FROM serving.activity AS a
WHERE a.window_start >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
GROUP BY a.type;

CREATE VIEW serving.top_pages AS
SELECT
    rank() OVER (ORDER BY page.edits DESC) AS place,
    page.wiki,
    page.namespace,
    page.title,
    page.edits,
    page.bytes_added,
    page.bytes_removed,
    page.reverts,
    page.last_edit_at
FROM (
    SELECT
        p.wiki,
        p.namespace,
        p.title,
        sum(p.edits)::bigint AS edits,
        sum(p.bytes_added)::bigint AS bytes_added,
        sum(p.bytes_removed)::bigint AS bytes_removed,
        sum(p.reverts)::bigint AS reverts,
        max(p.last_edit_at) AS last_edit_at
    FROM serving.page_activity AS p
    WHERE p.window_start >= date_trunc('hour', now(), 'UTC') - interval '1 hour'
    GROUP BY
        p.wiki,
        p.namespace,
        p.title
) AS page
ORDER BY
    page.edits DESC,
    page.wiki,
    page.namespace,
    page.title
LIMIT 100;

CREATE VIEW serving.recent_user_activity AS
SELECT
    u.user_key,
    max(u.user_name) AS user_name,
    u.user_class,
    u.wiki,
    min(u.window_start) AS first_minute,
    max(u.window_start) AS last_minute,
    sum(u.edits)::bigint AS edits,
    sum(u.new_pages)::bigint AS new_pages,
    sum(u.bytes_added)::bigint AS bytes_added,
    sum(u.bytes_removed)::bigint AS bytes_removed,
    sum(u.reverts)::bigint AS reverts
FROM serving.user_activity AS u
WHERE u.window_start >= date_trunc('minute', now(), 'UTC') - interval '59 minutes'
    AND u.user_class <> 'hidden'
GROUP BY
    u.user_key,
    u.user_class,
    u.wiki;

CREATE VIEW serving.top_contributors_hourly AS
SELECT
    ranked.hour,
    ranked.place,
    ranked.user_key,
    ranked.user_name,
    ranked.user_class,
    ranked.edits,
    ranked.bytes_added,
    ranked.bytes_removed
FROM (
    SELECT
        rank() OVER (PARTITION BY contributor.hour ORDER BY contributor.edits DESC) AS place,
        contributor.*
    FROM (
        SELECT
            date_bin('1 hour', u.window_start, '2000-01-01 00:00:00+00') AS hour,
            u.user_key,
            u.user_class,
            max(u.user_name) AS user_name,
            sum(u.edits)::bigint AS edits,
            sum(u.bytes_added)::bigint AS bytes_added,
            sum(u.bytes_removed)::bigint AS bytes_removed
        FROM serving.user_activity AS u
        WHERE u.window_start >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
            AND u.user_class <> 'hidden'
        GROUP BY
            1,
            u.user_key,
            u.user_class
    ) AS contributor
) AS ranked
WHERE ranked.place <= 10;

CREATE VIEW serving.editors_hourly AS
SELECT
    u.window_start,
    u.wiki,
    u.user_class,
    count(*) AS editors,
    u.layer
FROM serving.user_activity_hourly AS u
WHERE u.user_class <> 'hidden'
GROUP BY
    u.window_start,
    u.wiki,
    u.user_class,
    u.layer;

CREATE VIEW serving.top_pages_by_period AS
SELECT
    t.grain,
    t.window_start,
    t.scope,
    t.place,
    t.wiki,
    t.namespace,
    t.title,
    t.edits,
    t.bytes_added,
    t.bytes_removed,
    t.reverts,
    t.last_edit_at,
    t.as_of
FROM batch.top_pages AS t;

CREATE VIEW serving.top_editors_by_period AS
SELECT
    t.grain,
    t.window_start,
    t.scope,
    t.place,
    t.user_key,
    t.user_name,
    t.user_class,
    t.edits,
    t.new_pages,
    t.bytes_added,
    t.bytes_removed,
    t.reverts,
    t.as_of
FROM batch.top_editors AS t;

CREATE VIEW serving.editors_by_period AS
SELECT
    c.grain,
    c.window_start,
    c.scope,
    c.user_class,
    c.editors,
    c.as_of,
    c.scope AS wiki
FROM batch.editor_counts AS c;

-- The newest period of each grain that has tops.
CREATE VIEW serving.newest_periods AS
SELECT
    'hour' AS grain,
    max(p.hour) AS window_start
FROM ops.published_hours AS p
UNION ALL
SELECT
    'day',
    max(d.day)
FROM ops.published_days AS d
UNION ALL
SELECT
    r.grain,
    max(r.window_start)
FROM ops.ranked_periods AS r
GROUP BY r.grain;

-- The newest period of each grain alone, so that nobody reads through all of them to find it. Pages by the tops of their
-- wikis: the first hundred of any choice of wikis are among the first hundreds of each.
CREATE VIEW serving.newest_top_pages AS
SELECT
    t.grain,
    t.window_start,
    t.as_of,
    t.wiki,
    COALESCE(w.project, 'unknown') AS project,
    COALESCE(w.language, 'none') AS language,
    t.namespace,
    t.title,
    t.edits,
    t.bytes_added,
    t.bytes_removed,
    t.reverts,
    t.last_edit_at
FROM serving.newest_periods AS newest
JOIN batch.top_pages AS t ON t.window_start = newest.window_start AND t.grain = newest.grain
LEFT JOIN speed.wikis AS w ON w.wiki = t.scope
WHERE t.scope <> '';

CREATE VIEW serving.newest_top_editors AS
SELECT
    t.grain,
    t.window_start,
    t.as_of,
    t.scope AS wiki,
    COALESCE(w.project, CASE t.scope WHEN '' THEN '' ELSE 'unknown' END) AS project,
    COALESCE(w.language, CASE t.scope WHEN '' THEN '' ELSE 'none' END) AS language,
    t.user_key,
    t.user_name,
    t.user_class,
    t.edits,
    t.new_pages,
    t.bytes_added,
    t.bytes_removed,
    t.reverts
FROM serving.newest_periods AS newest
JOIN batch.top_editors AS t ON t.window_start = newest.window_start AND t.grain = newest.grain
LEFT JOIN speed.wikis AS w ON w.wiki = t.scope;
