//! Screening words: a text enters, a verdict leaves. The policy is declared in `policy.toml`,
//! compiled into the binary, and matched on whole words after normalisation.
//!
//! INVARIANT: fails closed. A policy that does not parse refuses everything.

use std::sync::OnceLock;

use serde::Deserialize;

/// What screening decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Refused under the named category of the policy.
    Refused {
        category: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: u32,
    category: Vec<Category>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    name: String,
    severity: u8,
    /// Refused when any of these appears.
    #[serde(default)]
    any_of: Vec<String>,
    /// Refused when one of each list appears.
    #[serde(default)]
    all_of: Vec<Vec<String>>,
}

/// The policy with its phrases normalised, the gravest categories first.
#[derive(Debug)]
struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    category: String,
    /// One phrase of each list must appear.
    lists: Vec<Vec<String>>,
}

/// The category that stands for a policy that cannot be read.
const POLICY_UNREADABLE: &str = "policy_unreadable";

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        let mut file: PolicyFile = toml::from_str(text).ok().filter(|file: &PolicyFile| file.version == 1)?;
        file.category.sort_by_key(|category| std::cmp::Reverse(category.severity));
        let rules = file.category.into_iter().map(Rule::of).collect::<Option<Vec<_>>>()?;
        (!rules.is_empty()).then_some(Self { rules })
    }

    fn judge(&self, text: &str) -> Verdict {
        let readings = readings(text);
        let refusing = self.rules.iter().find(|rule| readings.iter().any(|reading| rule.matches(reading)));
        match refusing {
            Some(rule) => Verdict::Refused { category: rule.category.clone() },
            None => Verdict::Allowed,
        }
    }
}

impl Rule {
    fn of(category: Category) -> Option<Self> {
        let mut lists = category.all_of;
        if !category.any_of.is_empty() {
            lists.push(category.any_of);
        }
        let lists: Vec<Vec<String>> =
            lists.into_iter().map(|list| list.iter().map(|phrase| normalise(phrase, 2)).collect()).collect();
        // A rule with nothing to match would refuse everything or nothing, by accident.
        let sound = !lists.is_empty() && lists.iter().flatten().all(|phrase| phrase.trim().len() > 2);
        sound.then_some(Self { category: category.name, lists })
    }

    fn matches(&self, reading: &str) -> bool {
        self.lists.iter().all(|list| list.iter().any(|phrase| reading.contains(phrase.as_str())))
    }
}

/// Screens a prompt, a caption or any other words of a person.
pub fn screen(text: &str) -> Verdict {
    static POLICY: OnceLock<Option<Policy>> = OnceLock::new();
    match POLICY.get_or_init(|| Policy::parse(include_str!("policy.toml"))) {
        Some(policy) => policy.judge(text),
        None => Verdict::Refused { category: POLICY_UNREADABLE.to_owned() },
    }
}

/// The ways in which a text may be read: as it is, with digits read as letters, with letters that
/// were drawn out (`nuuude`) taken once or twice, and with letters that were spaced out
/// (`n u d e`) joined.
fn readings(text: &str) -> Vec<String> {
    let leet: String = text.chars().map(letter_of_digit).collect();
    let mut readings = Vec::with_capacity(8);
    for text in [text, leet.as_str()] {
        for run in [1, 2] {
            let plain = normalise(text, run);
            readings.push(join_single_letters(&plain));
            readings.push(plain);
        }
    }
    readings.sort();
    readings.dedup();
    readings
}

/// Lower case, look-alikes folded, a letter that stands three times or more in a row taken `run`
/// times, anything that is no letter a single space; a space at both ends, so that containment is
/// whole-word containment.
fn normalise(text: &str, run: usize) -> String {
    let mut letters: Vec<char> = vec![' '];
    for character in text.chars().flat_map(char::to_lowercase).filter(|character| !is_invisible(*character)) {
        letters.extend(
            fold(character).chars().map(|letter| if letter.is_alphanumeric() { letter } else { ' ' }),
        );
    }
    letters.push(' ');
    let mut words = String::with_capacity(letters.len());
    for same in letters.chunk_by(|one, next| one == next) {
        let kept = match (same[0], same.len()) {
            (' ', _) => 1,
            (_, 3..) => run,
            (_, length) => length,
        };
        words.extend(&same[..kept]);
    }
    words
}

fn join_single_letters(normalised: &str) -> String {
    let mut joined = String::from(" ");
    let mut single_before = false;
    for word in normalised.split_whitespace() {
        let single = word.chars().count() == 1;
        if single && single_before {
            joined.pop();
        }
        joined.push_str(word);
        joined.push(' ');
        single_before = single;
    }
    joined
}

/// Zero-width and formatting characters, and combining marks: they change no letter's reading.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{0300}'..='\u{036f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

fn letter_of_digit(character: char) -> char {
    match character {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' | '9' => 'g',
        '7' | '+' => 't',
        '8' => 'b',
        other => other,
    }
}

/// The Latin letters that a character is read as: accents dropped, Cyrillic, Greek, full-width
/// and mathematical look-alikes folded. Anything else stays as it is.
fn fold(character: char) -> String {
    let plain = match character {
        'à'..='å'
        | 'ā'
        | 'ă'
        | 'ą'
        | 'ǎ'
        | 'ạ'
        | 'ả'
        | 'ấ'
        | 'ầ'
        | 'ẩ'
        | 'ẫ'
        | 'ậ'
        | 'ắ'
        | 'ằ'
        | 'ặ'
        | 'α'
        | 'ά'
        | 'а'
        | 'ɑ' => 'a',
        'в' | 'β' | 'ь' | 'ƀ' | 'ɓ' => 'b',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' | 'с' | 'ϲ' | 'ƈ' => 'c',
        'ď' | 'đ' | 'ԁ' | 'ɗ' | 'ɖ' => 'd',
        'è'..='ë'
        | 'ē'
        | 'ĕ'
        | 'ė'
        | 'ę'
        | 'ě'
        | 'ẹ'
        | 'ẻ'
        | 'ẽ'
        | 'ế'
        | 'ề'
        | 'ể'
        | 'ễ'
        | 'ệ'
        | 'ε'
        | 'έ'
        | 'е'
        | 'ё'
        | 'э'
        | 'ҽ' => 'e',
        'ƒ' => 'f',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' | 'ǧ' | 'ɡ' | 'ԍ' => 'g',
        'ĥ' | 'ħ' | 'н' | 'һ' | 'η' => 'h',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ǐ' | 'ỉ' | 'ị' | 'ι' | 'ί' | 'і' | 'ї' | 'ɩ' => {
            'i'
        }
        'ĵ' | 'ј' | 'ϳ' => 'j',
        'ķ' | 'к' | 'κ' | 'ƙ' => 'k',
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' | 'ӏ' | 'ⅼ' => 'l',
        'м' | 'ⅿ' => 'm',
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ŋ' | 'п' | 'ո' => 'n',
        'ò'..='ö'
        | 'ø'
        | 'ō'
        | 'ŏ'
        | 'ő'
        | 'ơ'
        | 'ǒ'
        | 'ọ'
        | 'ỏ'
        | 'ố'
        | 'ồ'
        | 'ổ'
        | 'ỗ'
        | 'ộ'
        | 'ο'
        | 'ό'
        | 'о'
        | 'օ'
        | 'σ' => 'o',
        'р' | 'ρ' | 'ƥ' => 'p',
        'ԛ' => 'q',
        'ŕ' | 'ŗ' | 'ř' | 'г' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'ѕ' | 'ſ' => 's',
        'ţ' | 'ť' | 'ŧ' | 'ț' | 'т' | 'τ' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ǔ' | 'ụ' | 'ủ' | 'υ' | 'ύ' | 'ս' => {
            'u'
        }
        'ν' | 'ѵ' | 'ⅴ' => 'v',
        'ŵ' | 'ω' | 'ѡ' | 'ԝ' => 'w',
        'х' | 'χ' | 'ⅹ' => 'x',
        'ý' | 'ÿ' | 'ŷ' | 'у' | 'γ' | 'ү' => 'y',
        'ź' | 'ż' | 'ž' | 'ʐ' => 'z',
        // Full-width forms.
        '\u{ff41}'..='\u{ff5a}' => shifted(character, 0xff41, 26),
        // Letters in circles and parentheses.
        '\u{24d0}'..='\u{24e9}' => shifted(character, 0x24d0, 26),
        '\u{249c}'..='\u{24b5}' => shifted(character, 0x249c, 26),
        // Mathematical alphabets repeat A-Z and a-z.
        '\u{1d400}'..='\u{1d6a3}' => shifted(character, 0x1d400, 26),
        // Regional indicators and squared letters.
        '\u{1f1e6}'..='\u{1f1ff}' => shifted(character, 0x1f1e6, 26),
        '\u{1f130}'..='\u{1f149}' => shifted(character, 0x1f130, 26),
        'æ' => return "ae".to_owned(),
        'œ' => return "oe".to_owned(),
        'ß' => return "ss".to_owned(),
        other => other,
    };
    plain.to_string()
}

fn shifted(character: char, first: u32, period: u32) -> char {
    let offset = (u32::from(character) - first) % period;
    char::from(b'a' + offset as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn category(text: &str) -> Option<String> {
        match screen(text) {
            Verdict::Allowed => None,
            Verdict::Refused { category } => Some(category),
        }
    }

    #[test]
    fn the_shipped_policy_is_sound() {
        assert!(Policy::parse(include_str!("policy.toml")).is_some());
    }

    #[test]
    fn the_platform_s_own_prompts_pass() {
        for prompt in [
            "a red ball bounces twice",
            "a blue ball is thrown into the hoop",
            "a green ball and a yellow ball collide",
            "a bass drum in Essex, played by an assassin bug",
            "a grape and a scunthorpe therapist",
            "the hoop shakes when the ball hits the backboard",
            "shooting hoops at school",
            "ten balls in a row",
            "",
        ] {
            assert_eq!(category(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn plain_and_disguised_requests_are_refused() {
        for (prompt, expected) in [
            ("a nude woman", "sexual"),
            ("N U D E woman", "sexual"),
            ("nuuuude woman", "sexual"),
            ("a nud3 woman", "sexual"),
            ("a n\u{200b}u\u{200b}d\u{200b}e woman", "sexual"),
            ("a nυdе woman", "sexual"),
            ("a ｎｕｄｅ woman", "sexual"),
            ("a 𝓷𝓾𝓭𝓮 woman", "sexual"),
            ("a n\u{0301}ude woman", "sexual"),
            ("a sexy teen", "sexual_minors"),
            ("a b3h3ad1ng", "violence"),
            ("a swastika on a ball", "hate"),
            ("how to make a pipe-bomb", "weapons"),
        ] {
            assert_eq!(category(prompt).as_deref(), Some(expected), "{prompt}");
        }
    }

    #[test]
    fn the_gravest_category_is_named() {
        assert_eq!(category("naked children").as_deref(), Some("sexual_minors"));
    }

    #[test]
    fn a_policy_that_says_nothing_or_something_unknown_is_no_policy() {
        for text in [
            "",
            "version = 1\ncategory = []",
            "version = 2\n[[category]]\nname = 'x'\nseverity = 1\nany_of = ['word']",
            "version = 1\n[[category]]\nname = 'x'\nseverity = 1",
            "version = 1\n[[category]]\nname = 'x'\nseverity = 1\nany_of = ['']",
            "version = 1\n[[category]]\nname = 'x'\nseverity = 1\nanyof = ['word']",
        ] {
            assert!(Policy::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn adding_words_never_lifts_a_refusal(before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
            let text = format!("{before} beheading {after}");
            prop_assert!(category(&text).is_some());
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = screen(&text);
            let once = normalise(&text, 2);
            prop_assert_eq!(normalise(&once, 2), once);
        }
    }
}
