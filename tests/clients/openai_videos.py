"""The official `openai` client against a running server: create, poll, download, list, delete.

Arguments: BASE_URL TOKEN OUT_FILE. Prints a JSON summary; any surprise ends with a traceback.
"""

import json
import sys

import openai


def main() -> None:
    base_url, token, out_file = sys.argv[1:]
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=token)

    video = client.videos.create_and_poll(
        prompt="a red ball bounces twice", model="kinora-nano", seconds="4", poll_interval_ms=300
    )
    assert video.status == "completed", video
    assert video.progress == 100 and video.seconds == "4" and video.object == "video", video

    content = client.videos.download_content(video.id)
    data = content.read()
    assert data[4:8] == b"ftyp", data[:16]
    with open(out_file, "wb") as out:
        out.write(data)
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert thumbnail[:8] == b"\x89PNG\r\n\x1a\n", thumbnail[:16]

    assert client.videos.retrieve(video.id).id == video.id
    assert video.id in [listed.id for listed in client.videos.list(limit=10)]

    remix = client.videos.remix(video.id, prompt="a blue ball bounces twice")
    assert remix.remixed_from_video_id == video.id, remix
    remix = client.videos.poll(remix.id, poll_interval_ms=300)
    assert remix.status == "completed", remix

    edit = client.videos.edit(prompt="a green ball bounces twice", video=("clip.mp4", data))
    longer = client.videos.extend(prompt="a red ball bounces twice", video=("clip.mp4", data), seconds="4")
    assert longer.seconds == "8", longer
    for derived in (edit, longer):
        assert derived.remixed_from_video_id == video.id, derived
        derived = client.videos.poll(derived.id, poll_interval_ms=300)
        assert derived.status == "completed", derived

    try:
        client.videos.edit(prompt="a green ball bounces twice", video=("other.mp4", data + b"more"))
        raise AssertionError("a file from elsewhere was accepted")
    except openai.BadRequestError as error:
        assert error.param == "video", error

    try:
        client.videos.create(prompt="")
        raise AssertionError("an empty prompt was accepted")
    except openai.BadRequestError as error:
        assert error.body and error.body["message"], error
    try:
        client.videos.retrieve("video_that_never_was")
        raise AssertionError("an unknown video was found")
    except openai.NotFoundError:
        pass
    try:
        openai.OpenAI(base_url=f"{base_url}/v1", api_key="kn_wrong", max_retries=0).videos.list()
        raise AssertionError("a wrong token was accepted")
    except openai.AuthenticationError:
        pass

    deleted = client.videos.delete(remix.id)
    assert deleted.deleted and deleted.id == remix.id, deleted
    print(json.dumps({"id": video.id, "bytes": len(data), "size": video.size}))


if __name__ == "__main__":
    main()
