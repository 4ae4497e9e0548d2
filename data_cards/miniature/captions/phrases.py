"""What the miniature's captions say about what they name: how it looks, what it does, where, when, and who was there.

None of these words names a class, so that a caption names what its nouns name and nothing else.
"""

from __future__ import annotations

# What a thing is to the people who write about it: the choice of adjectives, of what it does, and of forms.
GROUPS: dict[str, str] = {
    **dict.fromkeys(("dog", "cat"), "pet"),
    **dict.fromkeys(("horse", "cow", "sheep"), "farm animal"),
    **dict.fromkeys(("bird", "butterfly"), "winged"),
    **dict.fromkeys(("tree", "flower"), "plant"),
    **dict.fromkeys(("house", "lighthouse"), "building"),
    **dict.fromkeys(("car", "bus", "truck", "bicycle"), "vehicle"),
    **dict.fromkeys(("airplane", "balloon"), "aircraft"),
    **dict.fromkeys(("chair", "table", "lamp", "sofa", "television", "clock"), "furniture"),
    **dict.fromkeys(("umbrella", "tent"), "shelter"),
    **{name: name for name in ("person", "duck", "snowman", "boat", "kite", "moon", "ball")},
}
# What people own, and sell.
OWNED = GROUPS.keys() - {
    "person",
    "duck",
    "bird",
    "butterfly",
    "tree",
    "lighthouse",
    "bus",
    "airplane",
    "balloon",
    "moon",
}
AIRBORNE = frozenset(["airplane", "balloon", "kite", "moon", "bird", "butterfly"])
AFLOAT = frozenset(["boat", "duck"])

# How stuff lies to what is in front of it, above it or on it.
OVERHEAD = frozenset(["sky", "clouds", "sunset", "night sky"])
BEHIND = frozenset(["mountain", "forest", "skyline", "brick wall", "wallpaper", "curtain"])
WATER = frozenset(["sea", "lake", "pool"])

ADJECTIVES: dict[str, tuple[str, ...]] = {
    "person": ("young", "happy", "tired", "friendly", "lonely"),
    "pet": ("sleepy", "playful", "cute", "old", "fluffy", "naughty", "adorable"),
    "farm animal": ("hungry", "gentle", "shy", "curious", "lazy", "lonely"),
    "duck": ("hungry", "noisy", "curious", "cute"),
    "winged": ("pretty", "lovely", "shy", "wild", "beautiful"),
    "plant": ("pretty", "lovely", "beautiful", "wild", "lonely"),
    "building": ("old", "charming", "empty", "abandoned", "lovely", "famous"),
    "shelter": ("new", "cheap", "old", "waterproof"),
    "vehicle": ("old", "shiny", "dusty", "rusty", "new", "classic", "dirty"),
    "boat": ("old", "wooden", "new", "lonely", "pretty"),
    "aircraft": ("noisy", "distant", "old", "graceful"),
    "kite": ("new", "old", "broken", "pretty"),
    "moon": ("bright", "pale", "beautiful"),
    "ball": ("new", "old", "lost", "bouncy"),
    "furniture": ("old", "new", "cheap", "antique", "comfy", "lovely", "modern"),
    "snowman": ("jolly", "crooked", "funny", "proud"),
}
# Words that say the colour already.
OF_ONE_COLOUR = frozenset(["seagull", "sparrow", "monarch butterfly", "swallowtail", "mallard", "pine tree", "snowman"])
# How people wear a colour.
CLAD = ("in", "in", "all in", "dressed in")
LARGE = ("big", "huge", "large")
SMALL = ("tiny", "little", "small")

DOING: dict[str, tuple[str, ...]] = {
    "person": ("smiling for the camera", "waving hello", "looking the other way", "enjoying the fresh air", "posing"),
    "pet": ("waiting for dinner", "looking guilty", "begging for treats", "doing nothing", "being silly", "listening"),
    "farm animal": ("grazing", "looking at us", "eating lunch", "standing around", "enjoying the breeze"),
    "duck": ("swimming", "looking for bread", "making noise", "going for a swim"),
    "winged": ("fluttering about", "passing by", "in flight", "at rest"),
    "plant": ("growing wild", "swaying in the breeze", "after the rain", "in the morning dew", "in spring"),
    "building": ("that we rented", "with a history", "waiting for visitors", "before the renovation"),
    "shelter": ("flapping in the wind", "that survived the storm", "all set up", "in use"),
    "vehicle": ("parked", "waiting", "going nowhere", "in traffic", "passing by", "after the repair"),
    "boat": ("sailing", "drifting along", "at anchor", "coming home", "out for the regatta"),
    "aircraft": ("drifting along", "high above", "passing over", "coming in", "on the way home"),
    "kite": ("dancing in the wind", "flying high", "in the wind", "pulling at the string"),
    "moon": ("rising", "shining", "hanging low", "over our town"),
    "ball": ("rolling away", "left behind", "waiting for the match", "in the air"),
    "furniture": ("from the flea market", "in need of repair", "in good condition", "from the catalogue"),
    "snowman": ("melting slowly", "on guard", "made by the neighbors", "with a crooked smile"),
}

# Relations that two classes have of themselves; others are told by where they are.
RELATIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("person", "dog"): ("walking", "with", "petting", "playing with", "training"),
    ("person", "cat"): ("with", "feeding", "petting", "playing with"),
    ("person", "horse"): ("with", "leading", "feeding", "petting"),
    ("person", "cow"): ("with", "feeding", "looking after"),
    ("person", "sheep"): ("with", "feeding", "looking after"),
    ("person", "duck"): ("feeding", "watching"),
    ("person", "bird"): ("watching", "looking up at", "photographing"),
    ("person", "butterfly"): ("chasing", "watching"),
    ("person", "bicycle"): ("with", "pushing", "next to"),
    ("person", "car"): ("next to", "waiting for", "with", "washing"),
    ("person", "bus"): ("waiting for", "running for", "next to"),
    ("person", "kite"): ("flying", "with", "watching"),
    ("person", "balloon"): ("watching", "looking up at", "waving at"),
    ("person", "airplane"): ("watching", "waiting for", "waving at"),
    ("person", "moon"): ("under", "looking up at"),
    ("person", "umbrella"): ("with", "under", "holding"),
    ("person", "ball"): ("kicking", "playing with", "with"),
    ("person", "boat"): ("watching", "with", "waiting for"),
    ("person", "chair"): ("next to", "behind", "with"),
    ("person", "sofa"): ("next to", "beside", "in front of"),
    ("person", "television"): ("watching", "in front of"),
    ("person", "flower"): ("picking", "with", "smelling"),
    ("person", "snowman"): ("building", "next to", "with"),
    ("person", "tree"): ("under", "next to", "beside"),
    ("person", "tent"): ("in front of", "next to", "with"),
    ("dog", "ball"): ("chasing", "with", "playing with", "looking for"),
    ("dog", "cat"): ("chasing", "with", "next to"),
    ("dog", "bird"): ("watching", "barking at"),
    ("dog", "car"): ("chasing", "next to"),
    ("dog", "sheep"): ("watching", "herding"),
    ("dog", "person"): ("waiting for", "with", "following"),
    ("cat", "ball"): ("playing with", "next to", "ignoring"),
    ("cat", "bird"): ("watching", "dreaming of"),
    ("cat", "butterfly"): ("chasing", "watching"),
    ("cat", "sofa"): ("next to", "in front of", "hiding behind"),
    ("cat", "lamp"): ("next to", "under"),
    ("bird", "tree"): ("above", "near", "over"),
    ("bird", "boat"): ("following", "above"),
    ("duck", "boat"): ("following", "next to", "near"),
    ("butterfly", "flower"): ("visiting", "near", "above"),
    ("truck", "car"): ("behind", "passing", "in front of"),
    ("car", "bus"): ("behind", "passing", "in front of"),
    ("bus", "bicycle"): ("passing", "behind"),
    ("chair", "table"): ("at", "next to", "with"),
    ("snowman", "house"): ("guarding", "in front of"),
}
ABOVE = ("above", "over", "high above")
BELOW = ("under", "below", "beneath")
BESIDE = ("next to", "near", "beside", "by", "with", "in front of", "close to")

FILLERS: dict[str, tuple[str, ...]] = {
    "who": (
        "my grandfather",
        "grandma",
        "a friend",
        "my brother",
        "my sister",
        "my uncle",
        "the neighbors",
        "our teacher",
        "my wife",
        "my cousin",
    ),
    "event": (
        "our holiday",
        "vacation",
        "my birthday",
        "a school trip",
        "the weekend",
        "our anniversary",
        "the wedding",
        "the family reunion",
        "christmas",
        "a day off",
        "our honeymoon",
    ),
    "when": (
        "this morning",
        "last weekend",
        "yesterday",
        "before breakfast",
        "after lunch",
        "last summer",
        "today",
        "on my day off",
        "a year ago",
    ),
    "camera": ("canon", "nikon", "35mm film", "iphone photo", "kodak", "polaroid", "no filter", "1/250 at f8"),
    "tag": ("photography", "cute", "love", "throwback", "travel", "nofilter", "weekend", "picoftheday"),
    "mood": ("patience", "memories", "love", "luck", "silence", "happiness", "coffee"),
    "vantage": ("my window", "the train", "the balcony", "the kitchen", "the hotel", "the other side"),
    "adverb": ("simply", "really", "just", "quite", "truly", "surprisingly"),
    "month": ("june", "april", "october", "spring", "autumn", "2014"),
    "year": ("1987", "2009", "2016", "june 2012", "around 1950", "spring 2018"),
    "price": ("$40", "good condition", "best offer", "pick up only", "price negotiable", "almost like new"),
    "number": ("3", "12", "87", "200", "one", "two"),
}
TIMES: dict[str, tuple[str, ...]] = {
    "day": ("on a sunny day", "on a quiet morning", "in the afternoon", "in broad daylight", "at noon"),
    "dusk": ("at dusk", "in the evening", "at the end of the day", "in the evening light"),
    "night": ("at night", "late at night", "after dark", "at midnight"),
}
PLACES: dict[str, tuple[str, ...]] = {
    "street": ("in our neighborhood", "around the corner"),
    "city": ("in the city", "near the station"),
    "suburb": ("in our neighborhood", "around the corner"),
    "park": ("in the park", "in the countryside"),
    "meadow": ("in the countryside", "out in the country"),
    "farm": ("on the farm", "in the countryside"),
    "beach": ("at the seaside", "on the coast"),
    "harbour": ("in the harbor", "on the coast"),
    "lakeside": ("in the countryside", "up north"),
    "mountains": ("in the alps", "up north"),
    "winter": ("in january", "in winter"),
    "desert": ("in the desert", "down south"),
    "airfield": ("at the air show", "near the airport"),
    "garden": ("in the garden", "in our backyard"),
    "poolside": ("at the hotel", "in our backyard"),
    "living room": ("in the living room", "at home"),
    "dining room": ("in the dining room", "at home"),
    "bedroom": ("in the bedroom", "upstairs"),
}
