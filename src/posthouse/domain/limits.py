"""Every bound of the system in one place, each with its unit in its name.

What an operator may change is a setting (`config.py`) whose default is here; the rest are properties of the design.
"""

from __future__ import annotations

from typing import Final

# Intake
PAYLOAD_BYTES_MAX: Final = 1024 * 1024
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
BATCH_EVENTS_MAX: Final = 1_000
PENDING_EVENTS_MAX: Final = 10_000
PENDING_BYTES_MAX: Final = 64 * 1024 * 1024
FLUSH_EVENTS_MAX: Final = 1_000
PRESSING_EVENTS: Final = 4  # more than so many that wait to be stored have precedence over what is to be sent
FLUSH_BYTES_MAX: Final = 8 * 1024 * 1024
PUBLISH_CLASSES: Final = 1
HANDED_BYTES_MAX: Final = (
    64 * 1024
)  # of what is handed to the worker that owns its partition; larger is appended where it came
HANDED_SECONDS_MAX: Final = 1.0  # until it is appended here all the same
AUDIENCE_APPS_MAX: Final = 200_000  # of all events of one flush together
BODY_READ_SECONDS: Final = 30.0
EVENT_BODIES_BYTES_MAX: Final = (
    128 * 1024 * 1024
)  # of all requests with events that arrive piece by piece, in a process
BODIES_BYTES_MAX: Final = 64 * 1024 * 1024  # of all bodies that arrive, in a process, but for those of events
CLIENTS_MAX: Final = (
    10_000  # that are connected to a process, or as many as it may open files beside those of its targets
)
CLIENTS_MIN: Final = 100
CLIENT_FIRST_HEAD_SECONDS: Final = 30.0  # from the connection to the end of its first request's head
CLIENT_HEAD_BYTES_MAX: Final = 64 * 1024  # of a request's head, or its trailers, beyond the piece that they began in
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
CLOUDEVENT_CONTEXT_BYTES_MAX: Final = 64 * 1024  # all of a CloudEvent's attributes, without its data
JSON_DEPTH_MAX: Final = 128
JSON_AT_ONCE_BYTES_MAX: Final = 256 * 1024  # of a batch that are looked at in one turn of the event loop

# Names
NAME_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 1_024
URL_LENGTH_MAX: Final = 2_048
CHANNELS_MAX: Final = 16
ATTRIBUTES_MAX: Final = 32
METADATA_BYTES_MAX: Final = 8 * 1024
HEADERS_MAX: Final = 32
HEADER_BYTES_MAX: Final = 4 * 1024
EVENT_PATTERNS_MAX: Final = 100
RETRY_TYPES_MAX: Final = 16  # patterns with a schedule of their own, of one endpoint
GRANT_SUBJECTS_MAX: Final = 1_000
GRANT_ENTRIES_MAX: Final = 1_000  # pairs of a type and a subject in one grant
PATTERN_LEVELS_MAX: Final = 8  # words before the * of a pattern in a grant
ENDPOINTS_PER_APP_MAX: Final = 10_000
SCHEMA_BYTES_MAX: Final = 256 * 1024
SCHEMA_STEPS_MAX: Final = 1_000_000  # of comparing one schema with another
SCHEMA_BRANCHES_MAX: Final = 16  # of one anyOf or oneOf that are compared with each other
SCHEMA_CHANGES_MAX: Final = 200  # told of one comparison
SCHEMA_ERRORS_WORK_MAX: Final = 20_000  # values, times keywords that judge each, for all errors to be looked for
EVENT_TYPE_VERSIONS_MAX: Final = 1_000  # of one event type that are kept, beside those that an endpoint pins

# What a check of a new schema looks at, and the documents made of the catalogue
SUBSCRIBERS_SHOWN_MAX: Final = 100
SUBSCRIBERS_COUNTED_MAX: Final = 10_000
SAMPLE_EVENTS_MAX: Final = 100
SAMPLE_SEARCHED_MAX: Final = 20_000  # of all types, newest first
SAMPLE_BYTES_MAX: Final = 8 * 1024 * 1024
SAMPLE_ERRORS_MAX: Final = 5
DOCUMENT_TYPES_MAX: Final = 1_000
DOCUMENT_BYTES_MAX: Final = 2 * 1024 * 1024  # of schemas and examples, as they are stored
DOCUMENTS_CACHED_MAX: Final = 8
DOCUMENT_LOOKED_AT_SECONDS: Final = 1.0  # for callers without a key

# The database: how long anything that asks it for something waits
STORE_CONNECT_SECONDS: Final = 10.0
STORE_HOST_SECONDS: Final = 3.0  # of that, for one of several hosts
STORE_WAIT_SECONDS: Final = 10.0  # for a connection that others use
STORE_UNHEARD_SECONDS: Final = 10  # of a machine that does not even acknowledge what it is sent
STORE_ANSWER_SLACK_SECONDS: Final = 5.0  # for the answer, after the server's own limit for a statement
STATEMENT_SECONDS_MAX: Final = 30.0
API_STATEMENT_SECONDS_MAX: Final = 10.0
PUBLISH_STATEMENT_SECONDS_MAX: Final = 5.0
PUBLISH_ANSWER_SECONDS_MAX: Final = 10.0  # without its body; beyond, 503

# Log and tail
PARTITIONS: Final = 64
CLOCK_SKEW_SECONDS_MAX: Final = 300
IDS_AHEAD_SECONDS_MAX: Final = 60  # how far another process's ids may push ours
TAIL_READ_EVENTS_MAX: Final = 500
TAIL_READ_BYTES_MAX: Final = 8 * 1024 * 1024
OUTSTANDING_EVENTS_MAX: Final = 8_000
OUTSTANDING_DELIVERIES_MAX: Final = 64_000
OUTSTANDING_BYTES_MAX: Final = 64 * 1024 * 1024
OUTSTANDING_BUSY_MAX: Final = 2_000  # events, where the event loop has no time to spare: more would wait for it
TRACKED_EVENTS_MAX: Final = 100_000
OFFERED_EVENTS_MAX: Final = 2_000
OFFERED_BYTES_MAX: Final = 16 * 1024 * 1024
ROUTED_APPS_MAX: Final = 20_000

# Signatures
SIGNERS_MAX: Final = 8  # of one endpoint
SIGNED_PARTS_MAX: Final = 32  # of one signature: its parts, components, claims, and what goes along

# Requests that may take long to be written
TAKEN_APART_AT_ONCE_BYTES_MAX: Final = 16 * 1024  # of payloads whose values are looked at: form, xml, encryption, …
WHOLE_AT_ONCE_BYTES_MAX: Final = 256 * 1024  # of payloads that go out as they are, but compressed, say
MEASURED_FACTOR: Final = 2  # a batch brings so many times as many bytes of payloads as are written at once
WRITING_WORKERS: Final = 2  # limited processes that write what is larger
WRITING_SECONDS: Final = 20.0  # for one request
WRITING_MEMORY_FACTOR: Final = 256  # bytes for each of the largest payload, beyond what a process takes by itself
WRITING_WAITING_CALLS_MAX: Final = 1_000
WRITING_WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
WRITING_WAITING_SECONDS_MAX: Final = 10.0

# Lanes
LANE_FRESH_MAX: Final = 256
LANE_FRESH_BUSY_MAX: Final = 1_024  # where the event loop has no time to spare
CROWD_ENDPOINTS_MIN: Final = 17  # an event for so many endpoints is a crowd, which others must not wait for
CROWD_STARTS_MAX: Final = 8  # of a crowd, in one turn of the event loop
PRESSED_STARTS_MAX: Final = 16  # of all deliveries, in one turn, while events wait to be stored
ROWS_BESIDE_LIVE: Final = 100  # owed deliveries a second that may start beside live ones, or a quarter of those
LANE_PAGED_MAX: Final = 64
PAGED_BYTES_MAX: Final = 64 * 1024 * 1024
LANE_CONCURRENCY: Final = 16
LANE_SECONDS_MAX: Final = 2.0
LANE_LINES_OWED_MAX: Final = 1_000  # of one lane; beyond, it does not know which of its lines have rows
RECOVERED_SECONDS_MIN: Final = 60.0  # of failing, for its end to be told to the operators
HELD_TURN_SECONDS: Final = 1.0  # a target that asks for so little more is not put on record anew
LANES_IDLE_MAX: Final = 20_000
SOCKETS_MAX: Final = 1_000
IN_FLIGHT_BYTES_MAX: Final = 64 * 1024 * 1024
OWED_PER_ENDPOINT_MAX: Final = 1_000_000

# Journal
UNWRITTEN_RESULTS_MAX: Final = 2_000
JOURNAL_RESULTS_MAX: Final = 1_000
JOURNAL_LINGER_SECONDS: Final = 0.05
OUTSIDE_ROWS_MAX: Final = 1_000

# Counters for charts
TRAFFIC_COUNTS_MAX: Final = 50_000  # of scopes and spans that have yet to be written
TRAFFIC_ROWS_MAX: Final = 500  # in one statement
TRAFFIC_SECONDS: Final = 5.0
TRAFFIC_SECONDS_MAX: Final = 60.0
TRAFFIC_ROWS_PER_SECOND: Final = 200  # that are written; where there are more, they are written less often
BACKLOGS_TOLD_MAX: Final = 1_000  # endpoints of one process, those that are owed most
BACKLOG_ROWS_MIN: Final = 100  # for an endpoint's backlog to be told of
TRAFFIC_LISTED_MAX: Final = 50  # endpoints or apps in one answer
SEARCH_SECONDS_MAX: Final = 0.08  # for a page of a list with a filter that no index knows; then it goes on at the next
ATTENTION_SHOWN_MAX: Final = 50  # of each kind
LAST_WORK_SECONDS_MAX: Final = 2.0  # for the last counters of a process that ends
SERVERS_KEPT_SECONDS: Final = 86_400.0  # after they were seen last

# Replays
REPLAYS_LIVE_PER_APP_MAX: Final = 20
REPLAY_SPAN_SECONDS_MAX: Final = 90 * 86_400.0
REPLAY_OUTSTANDING_ROWS_MAX: Final = 500  # owed to an endpoint by its replay; more are added below half of it
REPLAY_STEP_EVENTS_MAX: Final = 500  # of the app, looked at in one step
REPLAY_STEP_POSITIONS_MAX: Final = 5_000  # of the partition, passed in one step
REPLAYS_READ_MAX: Final = 100  # in one statement
REPLAY_COUNTED_MAX: Final = 10_000  # by a dry run
REPLAY_DRY_RUN_SECONDS_MAX: Final = 5.0

# Schedules
SCHEDULES_MAX: Final = 10_000
SCHEDULE_DATA_BYTES_MAX: Final = 64 * 1024
SCHEDULE_EVERY_SECONDS_MAX: Final = 366 * 86_400
SCHEDULE_SPAN_SECONDS_MAX: Final = 100 * 366 * 86_400  # from now to its start or end
SCHEDULE_ON_TIME_SECONDS: Final = 60  # an occurrence that is fired so late was not missed
SCHEDULE_CAUGHT_UP_MAX: Final = 1_000  # missed occurrences in a row that `catch_up: all` fires
SCHEDULE_LEASE_SECONDS: Final = 10.0  # of a firing whose process may have died
SCHEDULE_BACKOFF_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0)  # after refusals in a row
SCHEDULE_PREVIEW_MAX: Final = 100  # occurrences that are shown ahead
SCHEDULE_PREVIEW_SECONDS_MAX: Final = 1.0
CRON_LENGTH_MAX: Final = 256
TIMEZONE_LENGTH_MAX: Final = 64

SCHEDULE_FIRED_AT_ONCE_MAX: Final = 50

# Triggers
TRIGGERS_MAX: Final = 1_000
TRIGGER_READ_EVENTS_MAX: Final = 1_000  # at once, of one source, more or less
TRIGGER_LOOK_SECONDS: Final = 1.0  # between two looks, where nothing else says when
TRIGGER_LEASE_SECONDS: Final = 10.0  # of a trigger whose process may have died
TRIGGER_HOLD_SECONDS: Final = 120.0  # of one that is changed or wound back, where who does that dies
TRIGGER_PUT_OFF_SECONDS: Final = 60.0  # of one that nobody can begin to work on
TRIGGER_LEASE_MARGIN_SECONDS: Final = 2.0  # before its end, by which nothing more is published
TRIGGER_LAG_SECONDS: Final = 5.0  # between two questions how far behind a source is
TRIGGER_TOLD_SECONDS: Final = 2.0  # between two times that it is put on record how a trigger is, where nothing happens
TRIGGER_BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # after failures in a row
TRIGGER_FAILURES_TOLD: Final = 5  # failures in a row after which operators are told
TRIGGER_SET_ASIDE_MAX: Final = 10_000  # of one trigger; then it stops until somebody looks
TRIGGER_SETTINGS_BYTES_MAX: Final = 64 * 1024
TRIGGER_TEMPLATE_LENGTH_MAX: Final = 512
TRIGGER_POSITION_LENGTH_MAX: Final = 4_000
TRIGGER_KEY_LENGTH_MAX: Final = 128
TRIGGER_QUIET_SECONDS_MAX: Final = 15.0  # until nobody works any more on a trigger that is changed
TRIGGER_AGAIN_SECONDS: Final = 1.0  # until what failed by our own fault is tried again

# Requests of others (inbound triggers)
INBOUND_CONCURRENCY: Final = 64  # requests of one source under way at once, in a process
INBOUND_CONCURRENCY_MAX: Final = 1_000
INBOUND_BYTES_MAX: Final = 64 * 1024 * 1024  # of all bodies under way, in a process
INBOUND_BODY_SECONDS: Final = 10.0  # until a body is there
INBOUND_INLINE_BYTES_MAX: Final = 64 * 1024  # of a body that is judged at once; a larger one is in a thread of its own
INBOUND_HEADERS_MAX: Final = 200
INBOUND_HEADER_BYTES_MAX: Final = 64 * 1024  # of all headers of a request, and its path and query
INBOUND_TEXT_BYTES_MAX: Final = 64 * 1024  # that expressions see of a body that is no JSON
INBOUND_EXCERPT_BYTES_MAX: Final = 4 * 1024  # that is kept of a body that was not verified
INBOUND_UNVERIFIED_MAX: Final = 100  # of those that one trigger keeps, the newest
INBOUND_ANSWER_BYTES_MAX: Final = 16 * 1024
INBOUND_PER_SECOND_MAX: Final = 100_000.0
INBOUND_BURST_MAX: Final = 100_000
INBOUND_TOLERANCE_SECONDS: Final = 300.0  # between a signature's time and ours
INBOUND_TOLERANCE_SECONDS_MAX: Final = 86_400.0
INBOUND_LOOK_SECONDS: Final = 1.0  # for which what triggers there are is believed
INBOUND_MISS_SECONDS: Final = 0.1  # between two looks for one that is not among them
INBOUND_CACHED_MAX: Final = TRIGGERS_MAX  # triggers that are ready for requests, in a process
INBOUND_PAUSED_SECONDS: Final = 60  # after which the sender may try again what a paused trigger did not take

# Ownership
LEASE_SECONDS: Final = 10.0
LEASE_MARGIN_SECONDS: Final = 2.0
IN_FLIGHT_GRACE_SECONDS: Final = 5.0
HAND_OVER_PARTITIONS_MAX: Final = 8
HAND_OVER_SECONDS_MAX: Final = 1.0

# The answer of a target
RESPONSE_READ_BYTES_MAX: Final = 64 * 1024
RESPONSE_STORED_BYTES_MAX: Final = 8 * 1024
RESPONSE_HEADER_BYTES_MAX: Final = 16 * 1024
RESPONSE_HEADERS_MAX: Final = 100
RETRY_AFTER_SECONDS_MAX: Final = 24 * 3600
ANSWER_VALUES_MAX: Final = 20_000  # of JSON or XML in an answer that an expression looks at
ANSWER_AT_ONCE_BYTES_MAX: Final = 16 * 1024  # of a body that is looked at without leaving the event loop
ACK_DEPTH_MAX: Final = 4  # of any and all in an acknowledgement rule
ACK_RULES_MAX: Final = 32  # in one acknowledgement rule, with those inside
ACK_STATUSES_MAX: Final = 32  # that one of these names
THROTTLED_PER_SECOND_MIN: Final = 0.001  # to which a target may slow down what it is sent
THROTTLED_PER_SECOND_MAX: Final = 10_000.0
ERROR_LENGTH_MAX: Final = 500

# Retention
RETENTION_DAYS: Final = 30
DAYS_AHEAD: Final = 3
FAILING_DAYS_MAX: Final = 5

# API
BODY_VALUES_MAX: Final = 10_000  # of JSON in a body, beside data, a schema and examples
BODY_DATA_VALUES_MAX: Final = 100_000  # of JSON in a body with all of these
PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 250
FOUND_ROWS_MAX: Final = 1_000  # looked at of each index, where something is looked for by how it begins
FIND_LENGTH_MAX: Final = 256  # of the text that is looked for
ACCEPT_LANGUAGE_LENGTH_MAX: Final = 1_000
ACCEPT_LANGUAGE_RANGES_MAX: Final = 32
TRANSLATED_LENGTH_MAX: Final = 4_096  # of a message; a longer one stays in English

# Signing in to the console and the portal
SESSION_SECONDS: Final = 12 * 3600.0  # until whoever signed in has to do so again
SESSIONS_MAX: Final = 1_000  # of one installation; the oldest make room
LINK_SECONDS: Final = 24 * 3600.0  # until a link that nobody used is over
LINKS_MAX: Final = 100  # that nobody has used yet, of one installation; the oldest make room
PORTAL_SESSIONS_MAX: Final = 100  # of one app, which last as long; the oldest make room
PORTAL_LINKS_MAX: Final = 100  # that nobody has used yet, of one app; the oldest make room
PORTAL_LINK_SECONDS: Final = (
    10 * 60
)  # until a link to the portal that nobody used is over; another time may be asked for
PORTAL_LINK_SECONDS_MAX: Final = 7 * 24 * 3600  # the longest of those
PLATFORM_NAME_LENGTH_MAX: Final = 100
SIGN_IN_TOKEN_BYTES: Final = 32  # of chance in the code of a link, and in a cookie
SIGN_IN_BODY_BYTES_MAX: Final = 4 * 1024  # of the request that signs in
SIGN_IN_FAILURES_TOLD_SECONDS: Final = 1.0  # between two lines of the log
CONSOLE_FILES_MAX: Final = 500  # that the console is made of
CONSOLE_BYTES_MAX: Final = 16 * 1024 * 1024  # of these together

# Live streams
STREAMS_MAX: Final = 100  # of one process
STREAMS_PER_APP_MAX: Final = 10  # of those, held by the keys of one app
STREAM_PAGE_ROWS_MAX: Final = 100  # read at once of one partition and kind
STREAM_BATCH_ROWS_MAX: Final = 256  # read at once of one kind
STREAM_EXAMINED_ROWS_MAX: Final = 1_000  # looked at in a partition for those that a filter lets pass
STREAM_PAYLOAD_BYTES_MAX: Final = 1024 * 1024  # fetched at once, unless one payload is larger
STREAM_ID_MESSAGES_MAX: Final = 10  # without a position: so many may come again, and a client that reads more gets on
STREAM_CHUNK_BYTES: Final = 64 * 1024
STREAM_REMEMBERED_EVENTS_MAX: Final = 10_000
STREAM_POSITION_LENGTH_MAX: Final = 128 * 1024
STREAM_POLL_SECONDS: Final = 0.25
STREAM_HINT_SECONDS: Final = 0.05  # at least so long between two looks
STREAM_FAILED_SECONDS: Final = 1.0  # until a read that failed is tried again
STREAM_SLACK_SECONDS: Final = 86_400.0
STREAM_KEEP_ALIVE_SECONDS: Final = 15.0
STREAM_SEND_SECONDS_MAX: Final = 60.0  # for a client to take what it was sent
STREAM_CLOSE_SECONDS_MAX: Final = 0.5
STREAM_KEY_SECONDS: Final = 1.0  # between two looks at whether the key still holds
STREAM_RETRY_MS: Final = 2_000

# What an endpoint, a catalogue entry and a key may be
DELAY_SECONDS_MAX: Final = 7 * 86_400.0
EXPONENTIAL_FACTOR_MAX: Final = 100.0
TIMEOUT_SECONDS_MAX: Final = 60.0
CONCURRENCY_MAX: Final = 1_000
EXAMPLES_MAX: Final = 20
OVERLAP_SECONDS: Final = 86_400
OVERLAP_SECONDS_MAX: Final = 30 * 86_400
PROFILES_MAX: Final = 500
PROFILE_BYTES_MAX: Final = 64 * 1024
SECRETS_MAX: Final = 4  # of one endpoint that sign at the same time: each adds a signature to every request
ENDPOINT_KEYS_MAX: Final = 16  # named keys of one endpoint
ENDPOINT_KEY_BYTES_MAX: Final = 16 * 1024
ENDPOINT_KEY_VERSIONS_MAX: Final = 4  # of one named key that are live at the same time

CLIENT_CERTIFICATE_BYTES_MAX: Final = 16 * 1024  # PEM, with its intermediates
CA_BYTES_MAX: Final = 64 * 1024  # PEM, of one endpoint
PINS_MAX: Final = 10
OAUTH2_PARAMS_MAX: Final = 16
OAUTH2_TOKEN_BYTES_MAX: Final = 8 * 1024
OAUTH2_TOKEN_SECONDS: Final = 300.0  # that a token lasts whose endpoint does not say
OAUTH2_TOKEN_SECONDS_MAX: Final = 24 * 3600.0  # that a token is used
OAUTH2_TOKENS_MAX: Final = 4_096  # in memory of one process
TLS_CONTEXTS_MAX: Final = 64  # of endpoints with TLS settings of their own, kept ready in one process

RATE_PER_SECOND_MAX: Final = 1_000_000
RATE_INTERVAL_SECONDS_MAX: Final = 7 * 86_400.0  # of the slowest rate, between two requests
RATE_BURST_REQUESTS_MAX: Final = 1_000_000
REQUEST_EVENTS_MAX: Final = 1_000  # in one request of an endpoint that takes batches
REQUEST_BYTES_MIN: Final = 1_024
REQUEST_BYTES_MAX: Final = 1024 * 1024
REQUEST_WAIT_MS_MAX: Final = 2_000  # as long as a delivery may be in its lane (LANE_SECONDS_MAX)
FALLBACK_URLS_MAX: Final = 5
EQUAL_URLS_MAX: Final = 8  # beside the endpoint's own
URL_WEIGHT_MAX: Final = 1_000
QUERY_PARAMETERS_MAX: Final = 32  # that an endpoint adds
PAYLOAD_VERSIONS_MAX: Final = 50  # event types of which an endpoint pins a version
FORMAT_FIELDS_MAX: Final = 100  # of the body that an endpoint describes, with items of arrays
FORMAT_DEPTH_MAX: Final = 8
READABLE_BYTES_MAX: Final = 2_000  # of a payload as people read it, in one text
READABLE_VALUES_MAX: Final = 2_000  # that are looked at for it
READABLE_LINE_LENGTH_MAX: Final = 300  # characters of a name, and of a value
MADE_BODY_BYTES_MAX: Final = (
    4 * PAYLOAD_BYTES_MAX
)  # of a body that is made of a payload: XML and forms say more than JSON
REQUEST_HEAD_BYTES_MAX: Final = 16 * 1024  # of a request that is put together from what users and signers add
COMPRESSED_BYTES_MIN: Final = 1_024  # a smaller body is not worth it
MAX_AGE_SECONDS_MAX: Final = 365 * 86_400.0

# Expressions, and what is configured with them
EXPRESSION_LENGTH_MAX: Final = 2_048
EXPRESSION_DEPTH_MAX: Final = 256  # of its tree; the parser itself stops at 32 in what is written
EXPRESSION_NODES_MAX: Final = 4_096
EXPRESSION_LOOPS_MAX: Final = 3  # macros such as exists and map
EXPRESSION_REGEX_LENGTH_MAX: Final = 256
EXPRESSION_REGEX_REPEATS_MAX: Final = 100  # all counted repetitions of a pattern, multiplied
EXPRESSION_DATA_DEPTH_MAX: Final = 128  # of what it looks at, and of what it comes to
EXPRESSION_DATA_NODES_MAX: Final = 100_000  # that the fields it names have, in a limited process
EXPRESSION_TEXT_BYTES_MAX: Final = 8 * 1024  # of what becomes a header, or part of a URL
EXPRESSION_SECONDS: Final = 0.5  # of one call of a limited process
EXPRESSION_MEMORY_BYTES: Final = 128 * 1024 * 1024  # of one limited process, beyond what it takes by itself
EXPRESSION_WORKERS: Final = 2
EXPRESSION_WAITING_CALLS_MAX: Final = 1_000
EXPRESSION_WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
EXPRESSION_WAITING_SECONDS_MAX: Final = 10.0
EXPRESSION_KILLS_MAX: Final = 3  # of limited processes, by one call: what is left of it then has no value
EXPRESSION_STRIKES_MAX: Final = 3  # of one expression for one app, in a row; then it rests
EXPRESSION_REST_SECONDS: Final = 60.0
EXPRESSIONS_RESTING_MAX: Final = 1_000  # and those that might
EXPRESSION_TRIALS_MAX: Final = 16  # that are tried over the API at the same time, in one process
EXPRESSIONS_CACHED_MAX: Final = 5_000  # compiled, in one process
AT_ONCE_COMPILED_MAX: Final = 8  # expressions that are new here, of those: each takes a third of a millisecond
AT_ONCE_EXPRESSIONS_MAX: Final = 400  # that are evaluated in one turn of the event loop
AT_ONCE_BYTES_MAX: Final = 32 * 1024  # of the fields that they name
AT_ONCE_NODES_MAX: Final = 2_000
AT_ONCE_PAYLOAD_BYTES_MAX: Final = 1024 * 1024  # that is searched for those fields
FILTERS_MAX: Final = 32  # dialects of one endpoint, at the top
FILTER_DIALECTS_MAX: Final = 64  # of one endpoint, counting those inside others
FILTER_DEPTH_MAX: Final = 8
FILTER_ATTRIBUTES_MAX: Final = 16  # of one exact, prefix or suffix
FILTERING_SECONDS_MAX: Final = 2.0  # that an event waits for its filters, as long as a delivery may be in its lane
FILTERING_AT_ONCE_MAX: Final = 16  # apps whose filters are being evaluated, in one process; others wait for their turn
FILTERING_EVENTS_MAX: Final = 2_000  # that wait for their filters in one process: a quarter of what may be outstanding
FILTERING_BYTES_MAX: Final = 16 * 1024 * 1024
FILTERING_TURNS_MAX: Final = 16_000  # of all their apps together: an event of the platform waits for each of its apps
FILTERING_APP_EVENTS_MAX: Final = 500
FILTERING_APP_BYTES_MAX: Final = 4 * 1024 * 1024
RESPONSE_RULES_MAX: Final = 16  # of one endpoint
RULE_EFFECTS_MAX: Final = 8  # that one rule has besides what it says itself
RULE_METADATA_MAX: Final = 16  # names that one rule sets

# What answers make happen
CHAIN_DEPTH_MAX: Final = 8  # events that follow from each other's answers, without the first
CHAINED_PER_MINUTE_MAX: Final = 6_000  # events of one app that answers ask for
EFFECTS_PENDING_MAX: Final = 10_000  # of one partition that are recorded and not done; beyond, none is recorded
THROTTLE_TURN_SECONDS: Final = 1.0  # an answer that throttles for so little longer is not put on record anew
FORWARD_URLS_MAX: Final = 16  # of one endpoint that are kept ready
CALLBACKS_TOLD_SECONDS: Final = 3_600.0  # between two events that say the same of what answers make happen

# Platform routes
PLATFORM_COPIES_MAX: Final = 100  # apps of one partition for which an event of the platform is handed to them
PLATFORM_PENDING_MAX: Final = 5_000  # follow-ups of one process that are not done; beyond, events wait

# Callback handlers in Python
ACTIONS_MAX: Final = 100  # of one call
ACTIONS_BYTES_MAX: Final = PAYLOAD_BYTES_MAX  # of all actions of one call together, as JSON
CALL_PROCESSES: Final = 2  # of one server process
CALL_PROCESSES_MAX: Final = 64
CALL_SECONDS_MAX: Final = 3_600.0
CALL_DETAIL_LENGTH_MAX: Final = 2_000  # of what is told of a call that failed: the end of its traceback
CALL_FRAMES_MAX: Final = 5  # of a traceback
CALL_LINE_LENGTH_MAX: Final = 2_000  # of what a handler prints, in the log
CALL_LINES_PER_SECOND_MAX: Final = 1_000  # of one process, in the log; beyond, who prints waits
CALLS_PENDING_MAX: Final = 10_000  # of one partition that are recorded and not made; beyond, none is recorded
CALLS_READ_MAX: Final = 32  # at once
CALLS_LOOK_SECONDS: Final = 30.0  # between two looks, where nobody says that there is something
CALL_UNAVAILABLE_SECONDS: Final = 1.0  # until a call is tried again for which there was no process
CALL_SECONDS: Final = 30.0  # of one call, unless a setting says otherwise
CALL_BACKOFF_SECONDS: Final = (5.0, 30.0, 120.0, 600.0)  # after a call that failed; then it is set aside
CALL_TYPES_CACHED_MAX: Final = 1_000  # event types of which it is known whether there is a handler
TRANSFORM_BYTES_MAX: Final = 256 * 1024  # of the data that a transformation makes, or as many as the event's own
TRANSFORM_HEADERS_MAX: Final = 16  # that a transformation adds
TRANSFORM_QUERY_MAX: Final = 16  # parameters that a transformation adds
TRANSFORM_SCHEMA_BYTES_MAX: Final = 16 * 1024
TRANSFORM_SCHEMA_STEPS_MAX: Final = 1_000  # keywords and values of such a schema, references followed
TRANSFORM_SCHEMA_WORK_MAX: Final = 4_000_000  # those times the bytes of the data that it judges
DYNAMIC_HOSTS_MAX: Final = 32  # of a URL that depends on the event
DYNAMIC_URLS_MAX: Final = 32  # that an expression chooses among

KEY_LENGTH_MIN: Final = 16
KEY_LENGTH_MAX: Final = 256
KEYS_CACHED_MAX: Final = 10_000
KEY_CACHED_SECONDS: Final = 10.0
UNKNOWN_KEY_CACHED_SECONDS: Final = 1.0

REDACTED_NAMES_MAX: Final = 32  # JSON pointers of an event type; of an endpoint's answers, and header names
REDACTED_POINTER_LENGTH_MAX: Final = 256
REDACTED_POINTER_PARTS_MAX: Final = 32

OPENED_DATA_KEYS_MAX: Final = 20_000  # of apps, in memory of one process
REKEY_PAGE_MAX: Final = 100  # data keys, or endpoints, that are sealed anew in one transaction

# Quotas of an app, and how what it stores is measured
QUOTA_PUBLISH_PER_SECOND_MAX: Final = 1_000_000.0
QUOTA_STORED_BYTES_MAX: Final = 2**50
QUOTA_MEASURED_SECONDS: Final = 60.0
QUOTA_APPS_READ_MAX: Final = 20  # in one statement
QUOTA_EVENTS_READ_MAX: Final = 10_000  # of one app in one statement
QUOTA_ROUNDS_MAX: Final = 20  # statements of an app in one measurement
QUOTA_APPS_MAX: Final = 50_000  # whose use is in memory
QUOTA_TOLD_SECONDS: Final = 3_600.0  # between two events that say that a quota of an app was reached
NEWS_PENDING_MAX: Final = 100  # such events on their way, in one process; what is beyond is not told

# Handshakes
HANDSHAKE_STEPS_MAX: Final = 5
HANDSHAKE_DATA_BYTES_MAX: Final = 16 * 1024  # of the event that a step is about
HANDSHAKE_VALUES_MAX: Final = 2_000  # of JSON in the data, the body and the expected answer of a step
HANDSHAKE_FILLED_LENGTH_MAX: Final = 64 * 1024  # characters that are filled in for the names in all texts of a step
HANDSHAKE_EXPECTED_MAX: Final = 16  # statuses, headers, or values of JSON that a step expects
HANDSHAKE_EVERY_SECONDS_MIN: Final = 60.0
HANDSHAKE_EVERY_SECONDS_MAX: Final = 366 * 86_400.0
HANDSHAKE_GRACE_SECONDS_MAX: Final = 30 * 86_400.0
HANDSHAKE_WITHIN_SECONDS_MIN: Final = 60.0  # in which somebody has to follow a URL
HANDSHAKE_WITHIN_SECONDS_MAX: Final = 30 * 86_400.0
HANDSHAKE_ORIGIN_LENGTH_MAX: Final = 253
HANDSHAKE_RATE_MAX: Final = 60_000_000  # requests a minute
HANDSHAKE_BACKOFF_SECONDS: Final = (5.0, 30.0, 300.0, 3_600.0)  # after tries that came to nothing in a row
HANDSHAKE_STEP_SECONDS_MAX: Final = 60.0  # that one step may take with one URL
HANDSHAKE_BEGIN_SECONDS_MAX: Final = (
    20.0  # in which who took one begins steps of it, the last of which ends before the lease
)
HANDSHAKE_LEASE_SECONDS: Final = 90.0  # of one whose process may have died
HANDSHAKE_LOOK_SECONDS: Final = 1.0  # between two looks for those that are due
HANDSHAKES_AT_ONCE_MAX: Final = 8  # in one process
HANDSHAKES_PER_APP_MAX: Final = 2  # of those
HANDSHAKES_ASKED_MAX: Final = 6  # of one endpoint in a minute, over the API
HANDSHAKES_ASKED_SECONDS: Final = 60.0

TRIALS_AT_ONCE_MAX: Final = 16  # tests of endpoints, in one process
PREVIEWS_AT_ONCE_MAX: Final = 16  # previews of requests, in one process

STATS_SECONDS: Final = 86_400.0
STATS_SECONDS_MAX: Final = 90 * 86_400.0
OWED_COUNTED_MAX: Final = 10_000
OWED_AHEAD_COUNTED_MAX: Final = 100_000  # for a page of owed deliveries, over all of its endpoints
ROUTES_SHOWN_MAX: Final = 100
SIGNED_SHOWN_BYTES_MAX: Final = 65_536  # of what a signer signed of a request
EXPLAINED_APPS_MAX: Final = 100
EXPLAINED_ENDPOINTS_MAX: Final = 1_000

# What a process asks of its surroundings
CONNECTIONS_PER_PROCESS: Final = 25
FILES_BESIDE_SOCKETS: Final = 200  # database, clients, logs, the programs' own
