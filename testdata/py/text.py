def count(text):
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return {'words': len(text.split()), 'counts': counts}


def number(text):
    return int(text)


def words(text, upper=False):
    for word in text.split():
        if upper:
            word = word.upper()
        yield word
