#!/usr/bin/env python3
"""Writes the sample corpora of this folder: python3 data/generate.py [FOLDER]

Templates filled from word lists, with particles that agree with the word before them. The same seed gives the same
files. The test files draw from more words and templates than the training files, so that a model must read the
context and not only remember.
"""
import pathlib
import random
import re
import sys

SEED = 20240
SIZES = {"train": 1500, "test": 300, "predict": 100}

# ---- Particles ----

DIGIT_FINALS = dict(zip("0123456789", [21, 8, 0, 16, 0, 0, 1, 8, 8, 0]))  # 영 일 이 삼 사 오 육 칠 팔 구


def final_of(word):
    """The final consonant of the last syllable as Unicode numbers it: 0 none, 8 ㄹ."""
    for c in reversed(word):
        if "가" <= c <= "힣":
            return (ord(c) - 0xAC00) % 28
        if c in DIGIT_FINALS:
            return DIGIT_FINALS[c]
        if c in "%)":
            continue
        if c.isalpha():
            return 8 if c in "lLrR" else 16 if c in "mMnN" else 0
    return 0


PARTICLES = {"은": "는", "이": "가", "을": "를", "과": "와", "이라는": "라는", "이라고": "라고", "이나": "나", "이다": "다", "이면": "면"}


def particle(word, name):
    final = final_of(word)
    if word.endswith("%"):
        final = 0  # 퍼센트
    if name == "으로":
        return "로" if final in (0, 8) else "으로"
    return name if final else PARTICLES[name]


# ---- Words: the first part of each list is for training, all of it for the test ----


def part(words, test, share=0.7):
    words = words if isinstance(words, list) else words.split()
    return words if test else words[: int(len(words) * share)]


SURNAMES = "김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 류 홍 남궁 제갈"
GIVEN = """민수 지은 서연 도윤 하준 예린 수빈 태호 은정 현우 재석 미경 소라 동욱 지훈 유나 성민 혜진 상철 가람 보라 하늘
다온 슬기 우진 나래 영호 정아 기범 선희 준서 아름 경태 해인 이슬 창민 윤슬 산하 두나 로운 단비 초롱 주원 세린 태양 한별"""
FOREIGN = "마리아 안나 다니엘 요한 루카스 소피 올리버 하나코 응우옌 파블로 에밀리 이반 클라라 아미나 휴고"
TITLES = "씨 교수 감독 의원 대표 선수 작가 기자 과장 박사 시장 원장"

CITIES = """서울 부산 대구 인천 광주 대전 울산 수원 춘천 강릉 전주 여수 목포 순천 포항 경주 안동 통영 제주 속초 천안 청주
군산 거제 김해 원주 태백 보령 남원 영월 삼척 밀양 나주 문경"""
REGIONS = "경기도 강원도 충청도 전라도 경상도 제주도 한라산 설악산 지리산 백두산 한강 낙동강 섬진강 동해 남해 서해 울릉도 독도"
DISTRICTS = "종로구 마포구 강남구 해운대구 수성구 유성구 북구 남구 중구 연수구 달서구 은평구"
COUNTRIES = """한국 미국 일본 중국 독일 프랑스 영국 인도 베트남 태국 호주 캐나다 브라질 이집트 멕시코 스페인 노르웨이 케냐 페루
핀란드 몽골 칠레 모로코"""

COMPANY_HEADS = """한빛 누리 가온 푸른 새길 미래 다솜 온새미 해오름 별빛 나무 모아 두레 참빛 한결 라온 큰샘 이음 늘봄 마루 도담
시나브로 아라 물결 새벽"""
COMPANY_TAILS = "전자 은행 건설 화학 식품 제약 항공 통신 출판사 증권 물산 엔터테인먼트 중공업 로지스틱스 연구소"
PUBLIC = "국회 기상청 국세청 교육부 환경부 통계청 소방청 질병관리청 법원 검찰청 문화재청 특허청 관세청"
TEAMS = "호랑이 독수리 돌고래 불사조 갈매기 사자들 번개 거북선"
LOCAL_ORGANS = "대학교 시립미술관 시청 교육청 병원 박물관 상공회의소 소방서 시민연대 도서관 교향악단"

MONTHS = [f"{m}월" for m in range(1, 13)]
WEEKDAYS = "월요일 화요일 수요일 목요일 금요일 토요일 일요일".split()
NATIVE = "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 열한 열두".split()
COUNTERS = "개 권 대 마리 장 그루 잔 켤레 송이"
SIZE_UNITS = "미터 킬로그램 센티미터 톤 킬로미터 리터"

THINGS = """계획 보고서 행사 축제 전시회 공연 영화 소설 사업 대회 조사 법안 서비스 시설 제도 노선 강연 회의 앨범 정책 훈련 백신
공장 다리 공원 시장 도로 요금 협약 연구"""
WORKS = "봄의노래 바다로 긴밤 겨울나그네 푸른방 첫눈 아버지의시계 달리는사람들 골목 여름의끝"


class Words:
    """Draws annotated words; `test` opens the held-out part of every list."""

    def __init__(self, rng, test):
        self.rng, self.test = rng, test

    def pick(self, words):
        return self.rng.choice(part(words, self.test))

    def person(self):
        r = self.rng.random()
        if r < 0.12:
            name = self.pick(FOREIGN)
        elif r < 0.2:
            name = self.pick(GIVEN)
        else:
            name = self.pick(SURNAMES) + self.pick(GIVEN)
        return f"<{name}:PS>"

    def place(self):
        return f"<{self.pick(self.rng.choice([CITIES, CITIES, REGIONS, DISTRICTS, COUNTRIES, COUNTRIES]))}:LC>"

    def organisation(self):
        r = self.rng.random()
        if r < 0.35:
            return f"<{self.pick(COMPANY_HEADS)}{self.pick(COMPANY_TAILS)}:OG>"
        if r < 0.5:
            return f"<{self.pick(COMPANY_HEADS)}:OG>"
        if r < 0.65:
            return f"<{self.pick(PUBLIC)}:OG>"
        if r < 0.75:
            return f"<<{self.pick(CITIES)}:LC> {self.pick(TEAMS)}:OG>"
        return f"<<{self.pick(CITIES)}:LC>{self.pick(LOCAL_ORGANS)}:OG>"

    def date(self):
        rng = self.rng
        day = rng.randint(1, 28)
        return "<" + rng.choice([
            f"{rng.choice(MONTHS)} {day}일", f"{rng.randint(1980, 2030)}년", f"{rng.randint(1990, 2029)}년 {rng.choice(MONTHS)}",
            f"지난 {rng.choice(WEEKDAYS)}", f"이번 주 {rng.choice(WEEKDAYS)}", f"{day}일", "어제", "내일", "오늘", "지난달",
            "내년 봄", "올해 가을", "작년", "다음 달 초", rng.choice(MONTHS), rng.choice(WEEKDAYS)]) + ":DT>"

    def time(self):
        rng = self.rng
        half = rng.choice(["", "", " 반", f" {rng.randint(1, 11) * 5}분"])
        return "<" + rng.choice([
            f"오전 {rng.randint(6, 11)}시{half}", f"오후 {rng.randint(1, 11)}시{half}", f"새벽 {rng.choice(NATIVE[:5])} 시{half}",
            f"저녁 {rng.choice(NATIVE[5:9])} 시{half}", f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", "정오", "자정"]) + ":TI>"

    def quantity(self, kind):
        rng = self.rng
        large = rng.choice([str(rng.randint(2, 99)), f"{rng.randint(10, 99) * 100:,}", f"{rng.randint(1, 90)}만"])
        few = rng.choice(NATIVE)
        decimal = f"{rng.randint(1, 9)}.{rng.randint(1, 9)}"
        amount = {
            "PEOPLE": lambda: rng.choice([f"{large}명", f"{large} 명", f"{few} 명", f"{rng.randint(20, 999)}여 명"]),
            "MONEY": lambda: rng.choice([f"{rng.randint(1, 90)}만 원", f"{rng.randint(2, 90)}억 원", f"{large} 달러"]),
            "SIZE": lambda: f"{rng.choice([decimal, str(rng.randint(2, 60))])}{self.pick(SIZE_UNITS)}",
            "DEGREE": lambda: rng.choice([f"{rng.randint(1, 35)}도", f"영하 {rng.randint(1, 15)}도"]),
            "SHARE": lambda: rng.choice([f"{rng.randint(2, 80)}%", f"{decimal}%", f"{rng.choice(NATIVE[1:5])} 배"]),
            "POINTS": lambda: f"{rng.randint(1, 40)}점",
            "COUNT": lambda: f"{few} {self.pick(COUNTERS)}",
            "SPAN": lambda: rng.choice([f"{few} 시간", f"{rng.randint(2, 50)}분"]),
            "STRENGTH": lambda: decimal,
        }[kind]()
        about = rng.choice(["", "", "", "약 "]) if kind in ("PEOPLE", "MONEY", "SIZE", "SPAN") else ""
        return f"<{about}{amount}:QT>"

    def town(self):
        return f"<{self.pick(self.rng.choice([CITIES, CITIES, DISTRICTS, COUNTRIES]))}:LC>"

    def work(self):
        return "<" + self.pick(WORKS) + ">"  # a title in brackets, not annotated: brackets also occur as text

    def fill(self, slot):
        makers = {"PS": self.person, "LC": self.place, "OG": self.organisation, "DT": self.date, "TI": self.time,
                  "TOWN": self.town, "WORK": self.work}
        if slot in makers:
            return makers[slot]()
        lists = {"TITLE": TITLES, "THING": THINGS}
        return self.pick(lists[slot]) if slot in lists else self.quantity(slot)


def plain(annotated):
    while True:
        shorter = re.sub(r"<([^<>]*):[A-Z]{2}>", r"\1", annotated)
        if shorter == annotated:
            return annotated
        annotated = shorter


def complete(template, words):
    """{PS}, {LC}, ... become words; [은] after one becomes 은 or 는, whichever the word asks for."""
    out = ""
    for piece in re.split(r"(\{[A-Z]+\}|\[[가-힣]+\])", template):
        if piece.startswith("{"):
            out += words.fill(piece[1:-1])
        elif piece.startswith("["):
            out += particle(plain(out).rstrip(">"), piece[1:-1])
        else:
            out += piece
    return out


NER_TEMPLATES = """{PS} {TITLE}[은] {DT} {LC}에서 열린 {THING}에 참석했다.
{OG}[은] {DT} {MONEY} 규모의 {THING}[을] 발표했다.
{TOWN}에 사는 {PS} {TITLE}[은] 매일 {TI}에 일어난다.
{DT} {TI}, {LC} 앞에서 {THING}[이] 시작된다.
{OG} 소속 {PS}[이] {POINTS} 차이로 이겼다.
{PS}[과] {PS}[은] {LC}에서 함께 자랐다.
"{THING}[을] 더 미룰 수 없다"고 {PS} {TITLE}[이] 말했다.
{TOWN}의 인구는 {PEOPLE}[으로] {DT}보다 줄었다.
{OG}[과] {OG}[이] {THING}[을] 위해 손을 잡았다.
비가 그친 뒤 하늘[이] 맑게 갰고 {LC}에는 무지개가 떴다.
{PS} {TITLE}의 새 영화 {WORK}[이] {DT} 개봉한다.
{DT}까지 {PEOPLE}[이] 넘는 시민이 {LC}[을] 찾았다.
{OG}[은] {LC} 지사를 {DT} 닫기로 했다.
저는 {TOWN} 출신이고 {OG}에서 동료 {PEOPLE}[과] 일합니다.
{TI}에 {LC} 가는 기차가 아직 있나요?
{PS}[은] {THING} 이야기를 꺼내지 않았다.
이 나무는 높이가 {SIZE}[이나] 된다.
{OG}에 따르면 {DT} {LC}의 기온은 {DEGREE}[으로] 예상된다.
{PS} 선생님께 {TI}까지 답장을 드려야 해요.
{TOWN}에서 온 {PS}[이라는] 학생이 {OG}에 합격했다.
모두가 미래[을] 걱정했지만 {PS}[은] 웃었다.
{OG} 대변인은 {THING} 비용이 {SHARE} 늘었다고 밝혔다.
{LC}, {LC}, {LC} 세 곳에서 동시에 {THING}[이] 열린다.
관객 {PEOPLE}[이] {PS}의 공연을 보려고 {TI}부터 줄을 섰다.
새벽 공기가 차가워서 우리는 {LC} 쪽으로 걸음을 옮겼다.
{PS}(<사진>)[이라고] 적힌 표를 {LC}에서 주웠다.
{DT} 밤 {PS}[은] {OG}[으로] 옮긴다는 소식을 전했다.
나무 아래에서 {PS}[을] 기다린 사람은 {PEOPLE}[이다].
{OG}[은] {PS} {TITLE}[을] 새 대표로 뽑았다.
회의는 {TI}에 시작해 {TI}에 끝났다.
마루에 앉아 {WORK}[을] 읽던 {PS}[이] 고개를 들었다.
{THING} 일정은 {DT}[으로] 미뤄졌다.
이번 {THING}[은] {OG}[이] 맡고 {LC}에서 진행한다.
아무도 그 {THING}[을] 기억하지 못했다.
{PS}[이] 세운 기록은 {POINTS}[이다].
누리 소통망에는 {LC} 여행 사진이 가득했다.
3번 출구로 나와 {OG} 건물까지 걸으면 됩니다.
{OG} 대 {OG} 경기는 {TI} {LC}에서 열린다.
{DT}의 {LC}[은] 정말 아름답더라.
{PS} {TITLE}, {DT}에 {LC}[으로] 출장 가시나요?
{PS}[은] 창고에서 {COUNT}[을] 찾아냈다.
{TOWN} 특산물을 {MONEY}에 팔고 있어요.
{OG}[이] {TOWN} 주민 {PEOPLE}[을] 대상으로 조사했다.
한 사람이라도 더 왔으면 좋겠다고 {PS}[은] 생각했다.
{DT} {LC} 앞바다에서 규모 {STRENGTH}의 흔들림이 있었다.
별빛[이] 쏟아지는 밤, {PS}[과] 나는 {LC}[을] 걸었다.
{PS} 기자 = {OG}[은] {THING}[을] 중단한다고 {DT} 알렸다.
{OG}에 물어보니 {THING}[은] {DT} {TI}부터래.
가격은 작은 것이 {MONEY}, 큰 것이 {MONEY}입니다.
<알림> {LC} {THING} 접수는 {DT} {TI}에 마감합니다.
{PS}[은] {OG} 앞에서 {SPAN} 동안 자리를 지켰다.
새로 문을 연 {OG}[은] {LC}에서 가장 크다.
오늘따라 {PS}의 목소리가 밝았다.
그 {THING}[은] 원래 {PS} {TITLE}의 생각이었다.
{LC}까지 차로 {SPAN}[이면] 갈 수 있다.
{OG}의 {THING}[이] {DT} 처음 공개됐다."""


def ner_lines(rng, test, count):
    """Half of the test draws from the held-out words; its last templates are not in training either."""
    templates = NER_TEMPLATES.splitlines()
    lines, seen = [], set()
    while len(lines) < count:
        words = Words(rng, test and rng.random() < 0.5)
        line = complete(rng.choice(templates if test else templates[:-6]), words)
        if line not in seen:
            seen.add(line)
            lines.append(line)
    return lines


# ---- Classes: messages to a shop ----

GOODS = """운동화 원피스 셔츠 이어폰 커피 책상 의자 냄비 칫솔 화분 가방 텀블러 이불 카메라 청소기 시계 충전기 우산 모자 장갑 노트북
키보드 샴푸 조명 선풍기 매트 담요"""
ADVERBS = "아직 계속 도무지 오늘도 왜 벌써 이틀째 자꾸 갑자기 여전히"
TC = {
    "배송": """{G}[이] {A} 도착하지 않았어요.
택배 기사님 연락처를 알 수 있을까요?
{G} 언제 출발하나요?
송장 번호가 {A} 조회되지 않아요.
주소를 잘못 적었는데 {G} 받을 곳을 바꿀 수 있나요?
제주도도 {N}일 안에 받을 수 있나요?
문 앞에 두었다는데 {G}[이] 없어요.
주문한 지 {N}일이 지났는데 소식이 없네요.""",
    "환불": """{G} 돈을 돌려받고 싶어요.
취소한 지 {N}일인데 {A} 입금되지 않았어요.
{G}[을] 반품하면 비용은 누가 내나요?
마음이 바뀌어서 {G}[을] 돌려보내려고요.
포장을 뜯은 {G}도 되돌릴 수 있나요?
카드로 산 {G} 취소 금액은 언제 들어오나요?
반품한 {G}[을] 보냈는데 확인이 {A} 안 되네요.
{N}만 원이 덜 들어왔어요.""",
    "결제": """카드가 {A} 승인되지 않아요.
{G} 살 때 무이자 할부가 되나요?
쿠폰을 넣었는데 값이 그대로예요.
{G} 값이 두 번 빠져나갔어요.
휴대전화로 돈을 내려면 어떻게 하나요?
현금 영수증을 {N}장 받고 싶어요.
포인트로 {G}[을] 살 수 있나요?
{G} 담고 나서 다음 화면으로 넘어가지 않아요.""",
    "상품": """{G} 크기가 어떻게 되나요?
이 {G}[은] 물에 젖어도 괜찮나요?
{G} 다른 색은 언제 들어와요?
{G} 무게가 {N}킬로그램 맞나요?
사진 속 {G}[과] 재질이 같은 건가요?
{G} 설명서는 어디에서 볼 수 있어요?
{G}[은] 아이가 써도 되나요?
{G} {N}호는 품절인가요?""",
    "회원": """비밀번호를 {A} 잊어버려요.
아이디를 바꾸고 싶은데 메뉴가 안 보여요.
{A} 로그인이 풀려요.
탈퇴하면 포인트는 사라지나요?
휴대전화 번호가 바뀌어서 인증을 못 받아요.
광고 문자를 그만 받고 싶어요.
가입할 때 {N}천 원을 준다고 했는데요.
등급이 {A} 내려갔어요.""",
    "칭찬": """{G} 정말 마음에 들어요!
상담해 주신 분이 친절해서 기분이 좋았습니다.
{N}번째 사는데 {G}[은] 여기가 최고예요.
생각보다 빨리 와서 놀랐어요. 고맙습니다.
{G} 포장이 꼼꼼해서 감동했어요.
친구에게도 {G}[을] 권했어요.
돌려보낸 {G} 처리가 빨라서 좋았어요.
다음에도 {G} 사러 올게요.""",
}
# What else people mention: words of another class, which must not decide.
ASIDES = {
    "배송": ["물건은 빨리 왔는데", "택배는 잘 받았는데", "어제 도착했는데"],
    "환불": ["반품 생각은 없지만", "취소하려는 건 아니고", "환불은 잘 받았는데"],
    "결제": ["카드로 샀는데", "쿠폰을 써서 샀는데", "결제는 끝났는데"],
    "상품": ["색은 예쁜데", "크기는 맞는데", "사진과 같긴 한데"],
    "회원": ["로그인은 했는데", "가입한 지 얼마 안 됐는데", "회원 등급이 높은데"],
    "칭찬": ["다 좋은데", "늘 잘 쓰고 있는데", "친절하셔서 좋은데"],
}
OPENINGS = ["", "", "", "안녕하세요. ", "저기요, ", "문의드려요. ", "급해요! ", "수고 많으십니다. "]
CLOSINGS = ["", "", "", " 확인 부탁드려요.", " ㅠㅠ", " 빠른 답변 바랍니다.", " 감사합니다."]


def tc_text(rng, test):
    label = rng.choice(list(TC))
    lines = TC[label].splitlines()
    template = rng.choice(lines if test and rng.random() < 0.5 else lines[:-1])
    values = {"{G}": rng.choice(part(GOODS, test)), "{A}": rng.choice(part(ADVERBS, test)), "{N}": str(rng.randint(2, 9))}
    text = ""
    for piece in re.split(r"(\{[GAN]\}|\[[가-힣]+\])", template):
        text += values.get(piece) or (particle(text, piece[1:-1]) if piece.startswith("[") else piece)
    if rng.random() < 0.3:
        text = rng.choice(ASIDES[rng.choice([other for other in TC if other != label])]) + " " + text
    return rng.choice(OPENINGS) + text + rng.choice(CLOSINGS), label


def tc_rows(rng, test, count):
    rows, seen = [], set()
    while len(rows) < count:
        text, label = tc_text(rng, test)
        if text not in seen:
            seen.add(text)
            rows.append((text, label))
    return rows


def tc_line(text, label):
    slots = [name if name == label else "" for name in TC]
    return "['" + text + "'," + ",".join(f"'{slot}'" for slot in slots) + "]"


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for task in ("ner", "tc"):
        (folder / task).mkdir(parents=True, exist_ok=True)
        for name, count in SIZES.items():
            rng = random.Random(f"{SEED} {task} {name}")
            if task == "ner":
                lines = ner_lines(rng, name != "train", count)
                lines = [plain(line) for line in lines] if name == "predict" else lines
            else:
                rows = tc_rows(rng, name != "train", count)
                lines = [f"['{text}']" if name == "predict" else tc_line(text, label) for text, label in rows]
            (folder / task / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
