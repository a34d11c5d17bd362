"""What problems say, in the language that the caller reads: English as it was raised, or Chinese from `zh_cn.json`.

Errors are raised in English all over the house, and nobody who raises one thinks of languages. Their Chinese is looked up as
they are answered: the text is matched against the English templates of the catalogue. A tidy test reads every place where an
error is raised and fails where its template is missing, so the catalogue stays complete without anybody's discipline.
"""
