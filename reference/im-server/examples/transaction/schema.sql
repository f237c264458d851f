-- The chat's tables. Numbers of 64 bits are stored with their bits in SQLite's signed integers.
create table if not exists heads (
    conversation text primary key,
    epoch integer not null,
    seq integer not null,
    first integer not null -- what is before it was trimmed
) strict, without rowid;

create table if not exists log (
    conversation text not null,
    seq integer not null,
    message_id integer not null,
    time_ms integer not null,
    sender text not null,
    device text not null,
    packet_id integer not null,
    digest blob not null,
    kind integer not null,
    about integer not null,
    recalled integer not null,
    content_type integer not null,
    content blob not null,
    primary key (conversation, seq),
    unique (sender, device, packet_id) -- a retry is found here
) strict;
create index if not exists log_about on log (conversation, about) where kind = 3;

-- What tells a retry of an entry that was trimmed.
create table if not exists packet_ids (
    sender text not null,
    device text not null,
    packet_id integer not null,
    conversation text not null,
    seq integer not null,
    message_id integer not null,
    time_ms integer not null,
    digest blob not null,
    primary key (sender, device, packet_id)
) strict, without rowid;
create index if not exists packet_ids_time on packet_ids (time_ms);

create table if not exists members (
    user text not null,
    conversation text not null,
    role integer not null,
    muted integer not null,
    banned integer not null,
    since integer not null,
    primary key (user, conversation)
) strict, without rowid;
create index if not exists roster on members (conversation, user);

create table if not exists cursors (
    user text not null,
    device text not null,
    conversation text not null,
    seq integer not null,
    primary key (user, device, conversation)
) strict, without rowid;

create table if not exists positions (
    user text not null,
    conversation text not null,
    epoch integer not null,
    delivered integer not null,
    read integer not null,
    primary key (user, conversation)
) strict, without rowid;

-- The application's own table.
create table if not exists tickets (
    id integer primary key,
    customer text not null,
    conversation text not null,
    seq integer not null,
    subject text not null check (length(subject) between 1 and 80),
    unique (conversation, seq)
) strict;
