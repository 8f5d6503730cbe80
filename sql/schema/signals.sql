-- Abnormal windows, one row per signal.
-- version: 1
-- partition by: cluster, day
-- key: signal_id
-- latest by: written
CREATE TABLE signals (
    cluster      TEXT NOT NULL,        -- cluster of the series
    day          TEXT NOT NULL,        -- UTC day of window_end, YYYY-MM-DD
    signal_id    TEXT NOT NULL,        -- stable: derived from job, job configuration, series and window
    incident_id  TEXT,                 -- incident that the signal belongs to; null for a signal that belongs to none
    job          TEXT NOT NULL,        -- job (detector) that raised it
    severity     TEXT NOT NULL,        -- `info`, `warning` or `critical`, as the job says
    service      TEXT NOT NULL,        -- service of the series
    instance     TEXT NOT NULL,        -- instance of the series; empty for the service as a whole
    metric       TEXT NOT NULL,        -- metric name; `log:<template id>` for logs, `span:<operation>` for spans
    window_start TIMESTAMPTZ NOT NULL, -- start of the abnormal window, inclusive, event time
    window_end   TIMESTAMPTZ NOT NULL, -- end of the window, exclusive; the signal is known from here on
    score        DOUBLE NOT NULL,      -- -log10 of the tail probability under the series' own baseline; 3 is one window in a thousand
    observed     DOUBLE NOT NULL,      -- value of the window, in the unit of the metric
    expected     DOUBLE NOT NULL,      -- value that the baseline expects, in the unit of the metric
    direction    TEXT NOT NULL,        -- `up`, `down` or `none`
    predicted    BOOLEAN NOT NULL,     -- true for a forecast: the window is still normal, its continuation is not
    detail       TEXT NOT NULL,        -- what to read beside the numbers, such as a log template; may be empty
    written      BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
