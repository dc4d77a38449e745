//! Real interactions to a trained ranker: import, training set, train, evaluate.

use crate::program::{kinora, say, shared_data, succeed, succeed_json, turn};

#[test]
fn a_ranker_trained_on_kuairand_predicts_later_days() {
    let Some(kuairand) = shared_data("kuairand-pure") else { return };
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();

    let imported = succeed_json(kinora(here).args(["import", "kuairand"]).arg(&kuairand));
    assert_eq!(imported["events"]["quarantined"], 0, "{imported}");
    let impressions = "SELECT count(*) AS n FROM events WHERE kind = 'impression'";
    let counted = succeed_json(kinora(here).args(["sql", impressions]));
    assert_eq!(counted["rows"][0]["n"], 94_784);

    let again = succeed_json(kinora(here).args(["import", "kuairand"]).arg(&kuairand));
    assert_eq!(again["events"]["accepted"], 0, "importing the same files twice must add nothing: {again}");
    assert_eq!(again["events"]["duplicates"], imported["events"]["accepted"]);

    let dataset = here.join("ranking-set");
    let manifest = succeed_json(kinora(here).args(["dataset", "ranking", "--out"]).arg(&dataset).args([
        "--split",
        "train=2022-04-25..2022-04-28",
        "--split",
        "eval=2022-04-29..2022-04-30",
        "--utc-offset",
        "+08:00",
    ]));
    assert_eq!(manifest["splits"].as_array().unwrap().len(), 2);

    let model = here.join("ranker");
    succeed(
        kinora(here)
            .args(["train", "ranker", "--seed", "1", "--dataset"])
            .arg(&dataset)
            .arg("--out")
            .arg(&model),
    );
    let report = succeed_json(
        kinora(here).args(["eval", "ranker", "--model"]).arg(&model).arg("--dataset").arg(&dataset),
    );
    let click = report["tasks"]["click"]["auc"].as_f64().unwrap();
    say(&format!("KuaiRand 29-30 April: click AUC {click:.4}"));
    assert!(click > 0.70, "click AUC {click}; report: {report}");
}

#[test]
fn movielens_is_imported_whole() {
    let Some(movielens) = shared_data("movielens-1m/ml-1m.txt.gz") else { return };
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let imported = succeed_json(kinora(dir.path()).args(["import", "movielens"]).arg(&movielens));
    assert_eq!(imported["events"]["quarantined"], 0);
    assert_eq!(imported["is_published_ml_1m"], true);
    let counted = succeed_json(kinora(dir.path()).args([
        "sql",
        "SELECT count(*) AS interactions, count(DISTINCT user_id) AS users, count(DISTINCT video_id) AS items \
         FROM events WHERE kind = 'click'",
    ]));
    assert_eq!(counted["rows"][0]["interactions"], 999_611);
    assert_eq!(counted["rows"][0]["users"], 6_040);
    assert_eq!(counted["rows"][0]["items"], 3_416);
}
