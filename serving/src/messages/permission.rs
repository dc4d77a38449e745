//! Who may send whom a message, decided from facts alone. Facts enter, a verdict leaves; the
//! queries that gather the facts stand below it.
//!
//! INVARIANT: a block, a narrower setting or a guardian's limit only ever turns yes into no.

use kinora_schema::UserId;

use crate::config::Config;
use crate::db::Conn;
use crate::error::ApiResult;
use crate::guardians::{self, AgeBand, MessagesFrom};
use crate::people;

/// What the verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Either side blocks the other.
    pub blocked: bool,
    pub sender_band: AgeBand,
    pub reader_band: AgeBand,
    /// What is in force for each.
    pub sender_accepts: MessagesFrom,
    pub reader_accepts: MessagesFrom,
    pub reader_follows_sender: bool,
    /// The reader has written to the sender before.
    pub reader_wrote_first: bool,
}

/// Why a message was refused, in words for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Blocked,
    SenderIsOff,
    ReaderIsOff,
    ReaderDoesNotFollow,
    AdultToTeen,
}

impl Refusal {
    pub(super) const fn detail(self) -> &'static str {
        match self {
            // Which of the two blocks is nobody's business.
            Self::Blocked | Self::ReaderIsOff => "this person does not take messages from you",
            Self::SenderIsOff => "messages are off for you; your switches or a guardian hold them off",
            Self::ReaderDoesNotFollow => "this person takes messages only from those whom they follow",
            Self::AdultToTeen => "an adult cannot start a conversation with a teen who does not follow them",
        }
    }
}

pub(super) fn judge(facts: Facts) -> Result<(), Refusal> {
    let known_to_reader = facts.reader_follows_sender || facts.reader_wrote_first;
    if facts.blocked {
        Err(Refusal::Blocked)
    } else if facts.sender_accepts == MessagesFrom::Nobody {
        Err(Refusal::SenderIsOff)
    } else if facts.reader_accepts == MessagesFrom::Nobody {
        Err(Refusal::ReaderIsOff)
    } else if facts.reader_band == AgeBand::Teen && facts.sender_band != AgeBand::Teen && !known_to_reader {
        Err(Refusal::AdultToTeen)
    } else if facts.reader_accepts == MessagesFrom::Followed && !known_to_reader {
        Err(Refusal::ReaderDoesNotFollow)
    } else {
        Ok(())
    }
}

pub(super) async fn gather(
    conn: &mut Conn,
    config: &Config,
    sender: &UserId,
    reader: &UserId,
    now_ms: i64,
) -> ApiResult<Facts> {
    let of_sender = guardians::in_force(conn, config, sender, now_ms).await?;
    let of_reader = guardians::in_force(conn, config, reader, now_ms).await?;
    let wrote_first: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM messages WHERE sender_id = ? AND reader_id = ? LIMIT 1")
            .bind(reader.as_str())
            .bind(sender.as_str())
            .fetch_optional(&mut *conn)
            .await?;
    Ok(Facts {
        blocked: people::blocked(conn, sender.as_str(), reader.as_str()).await?,
        sender_band: of_sender.band,
        reader_band: of_reader.band,
        sender_accepts: of_sender.settings.messages_from,
        reader_accepts: of_reader.settings.messages_from,
        reader_follows_sender: people::follows(conn, reader.as_str(), sender.as_str()).await?,
        reader_wrote_first: wrote_first.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn band() -> impl Strategy<Value = AgeBand> {
        prop_oneof![Just(AgeBand::Teen), Just(AgeBand::Adult), Just(AgeBand::Unknown)]
    }

    fn audience() -> impl Strategy<Value = MessagesFrom> {
        prop::sample::select(MessagesFrom::ALL.to_vec())
    }

    fn facts() -> impl Strategy<Value = Facts> {
        (any::<[bool; 3]>(), band(), band(), audience(), audience()).prop_map(
            |(flags, sender_band, reader_band, sender_accepts, reader_accepts)| Facts {
                blocked: flags[0],
                sender_band,
                reader_band,
                sender_accepts,
                reader_accepts,
                reader_follows_sender: flags[1],
                reader_wrote_first: flags[2],
            },
        )
    }

    proptest! {
        #[test]
        fn a_block_or_a_narrower_setting_never_turns_no_into_yes(before in facts(), narrower in audience(), block: bool) {
            let after = Facts {
                blocked: before.blocked || block,
                reader_accepts: before.reader_accepts.min(narrower),
                ..before
            };
            prop_assert!(judge(before).is_ok() || judge(after).is_err());
        }

        #[test]
        fn no_adult_starts_a_conversation_with_a_teen_who_does_not_follow_them(facts in facts()) {
            let facts = Facts {
                reader_band: AgeBand::Teen,
                sender_band: AgeBand::Adult,
                reader_follows_sender: false,
                reader_wrote_first: false,
                ..facts
            };
            prop_assert!(judge(facts).is_err());
        }

        #[test]
        fn nobody_means_nobody(facts in facts()) {
            let reader_off = Facts { reader_accepts: MessagesFrom::Nobody, ..facts };
            let sender_off = Facts { sender_accepts: MessagesFrom::Nobody, ..facts };
            prop_assert!(judge(reader_off).is_err());
            prop_assert!(judge(sender_off).is_err());
        }
    }
}
