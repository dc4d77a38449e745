//! What must hold of paying for generations.

use std::cell::Cell;

use kinora_schema::UserId;
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use serde_json::json;

use super::{Basis, Charge, Demand, QuoteId, Reservation, balance_of, prepare_key, refund, reserve};
use crate::auth::Role;
use crate::clock::DAY_MS;
use crate::config::GenerationConfig;
use crate::db::Db;
use crate::error::{ApiError, ApiResult};
use crate::people;
use crate::testing::{NOW_MS, TestApp};

const IDLE: Demand = Demand { queue_depth: 0 };
const PEAK: Demand = Demand { queue_depth: 100 };

/// A database with people in it, and a tariff of one free generation a day and four credits.
struct Till {
    db: Db,
    tariff: GenerationConfig,
    _dir: tempfile::TempDir,
}

impl Till {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
        prepare_key(&db).await.unwrap();
        let tariff = GenerationConfig { daily_allotment: 1, credit_price: 4, ..GenerationConfig::default() };
        Self { db, tariff, _dir: dir }
    }

    async fn person(&self, user_id: &str, credits: i64) -> UserId {
        let user_id = UserId::from(user_id);
        let mut tx = self.db.write().await.unwrap();
        people::create_if_missing(&mut tx, &user_id, NOW_MS).await.unwrap();
        if credits > 0 {
            let entry = super::Entry { kind: "grant", credits, reference: "start", note: "" };
            super::append(&mut tx, &user_id, entry, NOW_MS).await.unwrap();
        }
        tx.commit().await.unwrap();
        user_id
    }

    async fn reserve(
        &self,
        user_id: &UserId,
        job_id: &str,
        demand: Demand,
        quote: Option<&QuoteId>,
    ) -> ApiResult<Reservation> {
        self.reserve_at(user_id, job_id, demand, quote, NOW_MS).await
    }

    async fn reserve_at(
        &self,
        user_id: &UserId,
        job_id: &str,
        demand: Demand,
        quote_id: Option<&QuoteId>,
        now_ms: i64,
    ) -> ApiResult<Reservation> {
        let mut tx = self.db.write().await.unwrap();
        let charge = Charge { user_id, job_id, quote_id, demand, tariff: &self.tariff, now_ms };
        let reservation = reserve(&mut tx, &charge).await?;
        tx.commit().await.unwrap();
        Ok(reservation)
    }

    async fn refund(&self, job_id: &str) {
        let mut tx = self.db.write().await.unwrap();
        refund(&mut tx, job_id, NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn balance(&self, user_id: &UserId) -> i64 {
        balance_of(&mut self.db.read().acquire().await.unwrap(), user_id).await.unwrap()
    }
}

fn quoted(refusal: ApiResult<Reservation>) -> super::Quote {
    match refusal {
        Err(ApiError::PaymentRequired(quote)) => *quote,
        other => panic!("expected a quote, got {other:?}"),
    }
}

#[tokio::test]
async fn the_allotment_comes_first_then_idle_capacity_then_an_accepted_quote() {
    let till = Till::open().await;
    let user = till.person("u1", 10).await;
    assert_eq!(till.reserve(&user, "j1", PEAK, None).await.unwrap().basis, Basis::Allotment);
    assert_eq!(till.reserve(&user, "j2", IDLE, None).await.unwrap().basis, Basis::OffPeak);
    let quote = quoted(till.reserve(&user, "j3", PEAK, None).await);
    assert_eq!((quote.credits, quote.free_left, quote.peak), (4, 0, true));
    assert_eq!(till.balance(&user).await, 10, "nothing was charged before it was accepted");
    let paid = till.reserve(&user, "j3", PEAK, Some(&quote.quote_id)).await.unwrap();
    assert_eq!(paid, Reservation { basis: Basis::Credits, credits: 4 });
    assert_eq!(till.balance(&user).await, 6);
    let tomorrow = till.reserve_at(&user, "j4", PEAK, None, NOW_MS + DAY_MS).await.unwrap();
    assert_eq!(tomorrow.basis, Basis::Allotment);
}

#[tokio::test]
async fn a_quote_pays_once_for_its_person_until_it_expires() {
    let till = Till::open().await;
    let (user, other) = (till.person("u1", 100).await, till.person("u2", 100).await);
    for person in [&user, &other] {
        till.reserve(person, &format!("free-{person}"), PEAK, None).await.unwrap();
    }
    let quote = quoted(till.reserve(&user, "j1", PEAK, None).await);
    quoted(till.reserve(&other, "j2", PEAK, Some(&quote.quote_id)).await);
    quoted(till.reserve(&user, "j1", PEAK, Some(&QuoteId::new("quo_forged"))).await);
    quoted(till.reserve_at(&user, "j1", PEAK, Some(&quote.quote_id), quote.expires_ms).await);
    till.reserve(&user, "j1", PEAK, Some(&quote.quote_id)).await.unwrap();
    quoted(till.reserve(&user, "j3", PEAK, Some(&quote.quote_id)).await);
    assert_eq!((till.balance(&user).await, till.balance(&other).await), (96, 100));
}

#[tokio::test]
async fn a_quote_for_nothing_promises_nothing_at_peak() {
    let till = Till::open().await;
    let user = till.person("u1", 100).await;
    let key = super::quote::key(&mut till.db.read().acquire().await.unwrap()).await.unwrap();
    let terms = super::Terms { free_left: 1, peak: false, price: 4 };
    let free = super::quote::issue(&key, &user, &terms, NOW_MS).unwrap();
    assert_eq!(free.credits, 0);
    till.reserve(&user, "j1", PEAK, Some(&free.quote_id)).await.unwrap();
    assert_eq!(quoted(till.reserve(&user, "j2", PEAK, Some(&free.quote_id)).await).credits, 4);
}

#[tokio::test]
async fn without_credits_an_accepted_quote_is_refused_and_nothing_is_owed() {
    let till = Till::open().await;
    let user = till.person("u1", 3).await;
    till.reserve(&user, "j1", PEAK, None).await.unwrap();
    let quote = quoted(till.reserve(&user, "j2", PEAK, None).await);
    let refusal = till.reserve(&user, "j2", PEAK, Some(&quote.quote_id)).await.unwrap_err();
    assert!(matches!(refusal, ApiError::InsufficientCredits { needed: 4, balance: 3 }), "{refusal:?}");
    assert_eq!(till.balance(&user).await, 3);
}

#[tokio::test]
async fn a_refunded_free_generation_can_be_had_again() {
    let till = Till::open().await;
    let user = till.person("u1", 0).await;
    till.reserve(&user, "j1", PEAK, None).await.unwrap();
    till.refund("j1").await;
    assert_eq!(till.reserve(&user, "j2", PEAK, None).await.unwrap().basis, Basis::Allotment);
    till.refund("never-paid").await;
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { job: u8, peak: bool, accept: bool },
    Refund { job: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..6, any::<bool>(), any::<bool>()).prop_map(|(job, peak, accept)| Step::Reserve {
            job,
            peak,
            accept
        }),
        (0_u8..6).prop_map(|job| Step::Refund { job }),
    ]
}

/// Whatever happens in whatever order: the balance is what the entries say, never negative, and
/// each job moved credits at most once in each direction.
#[test]
fn no_order_of_events_charges_twice_refunds_twice_or_overdraws() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let till = runtime.block_on(Till::open());
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let cases_run = Cell::new(0);
    let cases = (prop::collection::vec(step(), 1..16), 0_i64..14);
    let outcome = runner.run(&cases, |(steps, start)| {
        let nth = cases_run.get();
        cases_run.set(nth + 1);
        runtime.block_on(async {
            let user = till.person(&format!("p{nth}"), start).await;
            for step in steps {
                match step {
                    Step::Reserve { job, peak, accept } => {
                        let job = format!("{nth}-{job}");
                        let demand = if peak { PEAK } else { IDLE };
                        let first = till.reserve(&user, &job, demand, None).await;
                        if let (true, Err(ApiError::PaymentRequired(quote))) = (accept, first) {
                            let _ = till.reserve(&user, &job, demand, Some(&quote.quote_id)).await;
                        }
                    }
                    Step::Refund { job } => till.refund(&format!("{nth}-{job}")).await,
                }
                prop_assert!(till.balance(&user).await >= 0);
            }
            let unpaid: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(credits), 0) FROM reservations WHERE user_id = ? AND refunded_ms IS NULL",
            )
            .bind(user.as_str())
            .fetch_one(till.db.read())
            .await
            .unwrap();
            prop_assert_eq!(till.balance(&user).await, start - unpaid);
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn entries_cannot_be_changed() {
    let till = Till::open().await;
    till.person("u1", 5).await;
    let mut tx = till.db.write().await.unwrap();
    assert!(sqlx::query("UPDATE credit_entries SET credits = 500").execute(&mut *tx).await.is_err());
    assert!(sqlx::query("DELETE FROM credit_entries").execute(&mut *tx).await.is_err());
}

#[tokio::test]
async fn an_admin_grants_once_for_each_reference() {
    let test = TestApp::new().await;
    let (admin, user) = (test.token("root", Role::Admin).await, test.user("u1").await);
    let grant = json!({"user_id": "u1", "credits": 20, "reference": "order-1"});
    test.post("/v1/credits/grants", &user, grant.clone()).await.expect(403);
    test.post("/v1/credits/grants", &admin, grant.clone()).await.expect(201);
    assert_eq!(test.post("/v1/credits/grants", &admin, grant).await.expect(200)["credits"], 20);
    for bad in [
        json!({"user_id": "u1", "credits": 0, "reference": "r"}),
        json!({"user_id": "u1", "credits": 1, "reference": ""}),
    ] {
        test.post("/v1/credits/grants", &admin, bad).await.expect(400);
    }
    let balance = test.get("/v1/credits", &user).await.expect(200);
    assert_eq!((&balance["credits"], &balance["free_left"]), (&json!(20), &json!(30)));
    let quote = test.post("/v1/generations/quote", &user, json!(null)).await.expect(200);
    assert_eq!(
        (&quote["credits"], &quote["free_left"], &quote["peak"]),
        (&json!(0), &json!(30), &json!(false))
    );
}
