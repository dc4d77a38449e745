select user_id, attributes, ingested_time_ms from (
    select *, row_number() over (partition by user_id order by ingested_time_ms desc, attributes) as age
    from users
) where age = 1
